"""Git over files, HTTP and SSH: what is fetched, how much of it, and with which credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubestorm.clients.git.address import GitAddress, parse_address
from kubestorm.clients.git.credentials import GitCredentials
from kubestorm.clients.git.settings import GitSettings
from kubestorm.clients.git.source import GitClient, forget_unused, kept_repository
from kubestorm.clients.host.processes import Runner
from kubestorm.clients.host.workspace import Workspace
from kubestorm.core.errors import DefinitionError, NotFoundError, PermanentError, TemporaryError
from kubestorm.core.secrets import Secret

from tests.integration.building.git_servers import (
    PASSWORD,
    USER,
    Repository,
    SshServer,
    http_server,
)

ALL = GitSettings(protocols=("https", "http", "ssh", "file"), hosts=("*", "127.0.0.1"))
Open = Callable[..., "contextmanager[GitClient]"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Three commits: a file at the root, one of each service, and a change of one."""
    (tmp_path / "git").mkdir()
    made = Repository(tmp_path / "git" / "shop.git")
    made.commit({"README": "hello"})
    made.commit(
        {"services/cart/Dockerfile": "FROM scratch", "services/web/Dockerfile": "FROM scratch"}
    )
    made.commit({"services/cart/main": "1"})
    return made


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Where builds live on this host."""
    return tmp_path / "builds"


@pytest.fixture
def client(base: Path) -> Open:
    """Open a client of one address."""

    @contextmanager
    def opened(
        url: str, credentials: GitCredentials | None = None, **source: object
    ) -> Iterator[GitClient]:
        settings = GitSettings(protocols=ALL.protocols, hosts=ALL.hosts, **source)
        with Workspace(base) as workspace:
            runner = Runner(workspace.path)
            address = parse_address(url, ALL)
            yield GitClient(workspace, address, credentials or GitCredentials(), settings, runner)

    return opened


def kept(base: Path, url: str):
    return kept_repository(base, namespace="shop", address=parse_address(url, ALL), vault_path=None)


def test_heads_of_branches_tags_and_the_default_branch(client, repository):
    """Each by its own name; a tag is its commit, not its own object."""
    head = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", "v1", "-m", "one")
    repository.git("push", "-q", "origin", "v1")
    with client(repository.url) as git:
        assert git.head("main") == ("main", head)
        assert git.head() == ("main", head)
        assert git.head(revision="v1") == ("v1", head)
        assert git.head(revision=head) == (head, head)
        with pytest.raises(NotFoundError, match="no branch or tag gone"):
            git.head("gone")


def test_changes_are_counted_from_any_earlier_commit(client, repository, base):
    """However many commits lie between, also beyond the depth of the first fetch."""
    first = repository.git("rev-parse", "HEAD~2")
    for number in range(60):
        repository.git("commit", "-q", "--allow-empty", "-m", f"empty {number}")
    last = repository.commit({"services/web/main": "2"})
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=last, branch="main", since=[first])
        assert git.changed_paths(folder, first, last) == (
            "services/cart/Dockerfile",
            "services/cart/main",
            "services/web/Dockerfile",
            "services/web/main",
        )


def test_a_rewritten_history_leads_nowhere(client, repository, base):
    """After a force-push nothing is known of what changed."""
    old = repository.git("rev-parse", "HEAD")
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=old, branch="main")
    repository.checkout("main", "HEAD~1")
    new = repository.commit({"services/cart/main": "other"})
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=new, branch="main", since=[old])
        assert git.changed_paths(folder, old, new) is None
        assert git.changed_paths(folder, "0" * 40, new) is None


def test_a_commit_that_the_branch_has_left_is_fetched_by_its_id(client, repository, base):
    """A build that was asked for a moment ago is still that build."""
    old = repository.commit({"a": "1"})
    repository.checkout("main", "HEAD~1")
    repository.commit({"b": "1"})
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=old, branch="main")
        with pytest.raises(NotFoundError, match="no longer has commit"):
            git.fetch(folder, commit="1" * 40, branch="main")


def test_only_the_context_is_unpacked(client, repository, base, tmp_path):
    """What is beside it does not exist for the build."""
    commit = repository.git("rev-parse", "HEAD")
    target = tmp_path / "context"
    target.mkdir()
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=commit, branch="main")
        assert [entry.path for entry in git.tree(folder, commit, "services/cart")] == [
            "Dockerfile",
            "main",
        ]
        git.check_out(folder, commit, "services/cart", target)
        with pytest.raises(DefinitionError, match="no folder services/gone"):
            git.tree(folder, commit, "services/gone")
    assert sorted(path.name for path in target.iterdir()) == ["Dockerfile", "main"]


def test_links_are_read_without_being_followed(client, repository, base):
    """Their targets come from git's objects, never from a disk."""
    commit = repository.commit(
        {"services/cart/out": "-> ../../../etc/passwd", "services/cart/in": "-> main"}
    )
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=commit, branch="main")
        entries = git.tree(folder, commit, "services/cart")
        assert git.links(folder, entries) == {"out": "../../../etc/passwd", "in": "main"}


def test_nothing_of_a_repository_runs(client, repository, base, tmp_path):
    """Filters, hooks and submodules that a repository brings stay words in files."""
    mark = tmp_path / "ran"
    repository.git("config", "filter.x.smudge", f"touch {mark}")
    modules = f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch {mark}"\n'
    commit = repository.commit({".gitattributes": "* filter=x", ".gitmodules": modules, "a": "1"})
    target = tmp_path / "context"
    target.mkdir()
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=commit, branch="main")
        git.check_out(folder, commit, ".", target)
    assert (target / "a").read_text() == "1"
    assert not mark.exists()


@pytest.mark.parametrize("url", ["ext::sh -c touch% {mark}", "--upload-pack=touch {mark}"])
def test_an_address_that_got_past_the_check_still_runs_nothing(base, tmp_path, url):
    """Git itself is allowed one protocol, and gets addresses after `--`."""
    mark = tmp_path / "ran"
    address = GitAddress("https", "git.test", url.format(mark=mark))
    with Workspace(base) as workspace:
        git = GitClient(workspace, address, GitCredentials(), GitSettings(), Runner(workspace.path))
        with pytest.raises((TemporaryError, PermanentError, NotFoundError)):
            git.head("main")
    assert not mark.exists()


def test_a_branch_named_like_an_option_is_a_branch_for_git(client, repository, tmp_path):
    """Even unchecked it names a ref."""
    mark = tmp_path / "ran"
    with client(repository.url) as git, pytest.raises(NotFoundError):
        git.head(f"--upload-pack=touch {mark}")
    assert not mark.exists()


def test_http_with_user_and_password(client, repository, base):
    """A private repository is read with the credentials of the secret, and not without."""
    commit = repository.git("rev-parse", "HEAD")
    good = GitCredentials(USER, Secret(PASSWORD))
    with http_server(repository.path.parent, private=True) as server:
        url = f"{server.url}/shop.git"
        with client(url, good) as git, kept(base, url) as folder:
            assert git.head("main").commit == commit
            git.fetch(folder, commit=commit, branch="main")
        for bad in (None, GitCredentials(USER, Secret("wrong-password"))):
            with (
                client(url, bad) as git,
                pytest.raises(PermanentError, match="check the credentials") as refused,
            ):
                git.head("main")
            assert "wrong-password" not in str(refused.value)


def test_credentials_do_not_follow_a_redirect(client, repository):
    """A server that sends us elsewhere does not get to see them there."""
    good = GitCredentials(USER, Secret(PASSWORD))
    root = repository.path.parent
    with (
        http_server(root, private=True) as elsewhere,
        http_server(root, redirect=elsewhere.url) as server,
    ):
        with (
            client(f"{server.url}/shop.git", good) as git,
            pytest.raises((TemporaryError, PermanentError)),
        ):
            git.head("main")
        assert elsewhere.seen == []


def test_ssh_with_a_key(client, repository, base, tmp_path):
    """With the right key and the server's own; a stranger's key and another server are refused."""
    commit = repository.git("rev-parse", "HEAD")
    with SshServer(tmp_path / "ssh") as server:
        url = server.url(repository)
        good = GitCredentials(ssh_private_key=Secret(server.key()), known_hosts=server.known_hosts)
        with client(url, good) as git, kept(base, url) as folder:
            assert git.head("main").commit == commit
            git.fetch(folder, commit=commit, branch="main")
        stranger = GitCredentials(
            ssh_private_key=Secret(server.key("stranger")), known_hosts=server.known_hosts
        )
        with (
            client(url, stranger) as git,
            pytest.raises(PermanentError, match="check the credentials"),
        ):
            git.head("main")
        impostor = server.known_hosts.replace(
            server.known_hosts.split()[2], server.key("stranger.pub").split()[1]
        )
        other = GitCredentials(ssh_private_key=Secret(server.key()), known_hosts=impostor)
        with client(url, other) as git, pytest.raises(PermanentError, match="not in known_hosts"):
            git.head("main")
        with (
            pytest.raises(DefinitionError, match="known_hosts"),
            client(url, GitCredentials("", None, Secret("k"))),
        ):
            pass


def test_nothing_of_credentials_stays_on_disk(client, repository, base):
    """They lie in the workspace, for its owner alone, and go with it."""
    good = GitCredentials(USER, Secret(PASSWORD))
    with http_server(repository.path.parent, private=True) as server:
        url = f"{server.url}/shop.git"
        with client(url, good), kept(base, url):
            files = [
                path for path in base.rglob("*") if path.is_file() and PASSWORD in path.read_text()
            ]
            assert [oct(path.stat().st_mode & 0o777) for path in files] == ["0o600"]
        with client(url, good) as git, kept(base, url) as folder:
            git.fetch(folder, commit=repository.git("rev-parse", "HEAD"), branch="main")
    assert not [
        path
        for path in base.rglob("*")
        if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
    assert list((base / "runs").iterdir()) == []


def test_repositories_that_nobody_uses_are_forgotten(client, repository, base):
    """The disk does not fill with what is built no more."""
    commit = repository.git("rev-parse", "HEAD")
    with client(repository.url) as git, kept(base, repository.url) as folder:
        git.fetch(folder, commit=commit, branch="main")
        assert forget_unused(base, keep_days=0) == []
    assert forget_unused(base, keep_days=1) == []
    assert forget_unused(base, keep_days=0) == [folder.name]
    assert not folder.exists()
