"""What about the rules for approvals works and is not meant: for `stormcell check --configs`.
Pure.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, List, Mapping

from kubestorm.clients.kube import KubeSettings
from kubestorm.people.approval.plan import is_approver
from kubestorm.people.approval.settings import ROLE_PREFIX, ApprovalSettings
from kubestorm.people.chat.people import find_person
from kubestorm.people.chat.settings import ChatSettings


def config_warnings(config: Mapping[str, Any]) -> List[str]:
    """A sentence for each rule that nobody can answer, or that fits no namespace that is served.
    Raises DefinitionError for what is wrong.
    """
    chat, found = ChatSettings.from_config(config), []
    served = KubeSettings.from_config(config).namespaces
    people = [find_person(chat, one.accounts[0]) for one in chat.people if one.accounts]
    for index, rule in enumerate(ApprovalSettings.from_config(config).rules):
        where = f"approvals.rules[{index}]"
        for word in rule.approvers:
            role = word[len(ROLE_PREFIX) :] if word.startswith(ROLE_PREFIX) else ""
            if role and role not in chat.roles:
                found.append(f"{where}.approvers: there is no role {role}.")
            elif not role and not any(one.name == word for one in people):
                found.append(f"{where}.approvers: nobody in chat.people is called {word}.")
        namespaces = [one for one in rule.namespaces if not set(one) & set("*?[")]
        fitting = [one for one in served if any(fnmatchcase(one, each) for each in rule.namespaces)]
        if served and not fitting:
            found.append(
                f"{where}.namespaces fits none of kubernetes.namespaces: nobody is ever asked."
            )
        for namespace in fitting or namespaces or [""]:
            able = [one.name for one in people if is_approver(rule, one, namespace)]
            if len(able) < rule.quorum:
                place = f" in {namespace}" if namespace else ""
                found.append(
                    f"{where} needs {int(rule.quorum)} to approve{place}, and chat.people has "
                    f"{len(able)} who may: no question is ever granted."
                )
    return found
