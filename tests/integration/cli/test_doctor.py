"""What `kubestorm.doctor` says of an installation that works, and of each way in which one does
not, asked of the sandbox's services.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from kubestorm.entrypoints.doctor import Line, as_result, examine

from sandbox.environment import AWS_ENVIRONMENT, ROOT, Environment

CLOSED = "127.0.0.1:1"
KEYS = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "eu-central-1"}
Config = dict[str, Any]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with Environment(tmp_path_factory.mktemp("doctor"), registry=True) as environment:
        yield environment


@pytest.fixture
def config(sandbox: Environment) -> Config:
    found: Config = yaml.safe_load((sandbox.folder / "configs" / "kubestorm.yaml").read_text())
    return copy.deepcopy(found)


@pytest.fixture(autouse=True)
def no_aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AWS_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def red(config: Config, service: str) -> list[Line]:
    return [line for line in examine(config) if line.service == service and not line.is_good]


def says(config: Config, service: str, message: str, remedy: str) -> None:
    """One line of that service fails so; none of them is a traceback."""
    lines = red(config, service)
    assert any(message in line.message and remedy in line.remedy for line in lines), lines
    assert not any("Traceback" in line.text() for line in lines)


def test_an_installation_that_works_is_green(config: Config, sandbox: Environment) -> None:
    """Line by line; and `stormcell check --connect` prints the same, without colour in a file."""
    result = as_result(examine(config))
    assert (result["ok"], result["message"]) == (True, "Everything works."), result["lines"]
    services = {line.split()[1] for line in result["lines"]}
    assert services == {"configuration", "Kubernetes", "Vault", "Consul", "AWS", "registries"}
    command = [sys.executable, "-m", "stormcell", "check", str(ROOT), "--connect", "--configs"]
    done = subprocess.run(
        [*command, str(sandbox.folder / "configs")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok    Vault" in done.stdout
    assert "\x1b" not in done.stdout


def test_one_that_does_not_exits_with_1(config: Config, tmp_path: Path) -> None:
    config["consul"]["url"] = f"http://{CLOSED}"
    (tmp_path / "kubestorm.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "stormcell", "check", str(ROOT), "--connect", "--configs"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, "FAIL  Consul" in done.stdout) == (1, True), done.stdout + done.stderr
    assert "Nothing is wrong" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def kubeconfig(
    config: Config, path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]
) -> None:
    document = yaml.safe_load(Path(config["kubernetes"]["kubeconfig"]).read_text())
    change(document["clusters"][0]["cluster"], document["users"][0]["user"])
    path.write_text(yaml.safe_dump(document))
    config["kubernetes"]["kubeconfig"] = str(path)


def test_a_kubeconfig_that_is_not_there(config: Config) -> None:
    config["kubernetes"]["kubeconfig"] = "/absent/kubeconfig"
    says(config, "configuration", "names /absent/kubeconfig, which does not exist", "")
    says(config, "Kubernetes", "cannot use /absent/kubeconfig", "set kubernetes.kubeconfig")


@pytest.mark.parametrize(
    "change, message, remedy",
    [
        (
            lambda cluster, user: cluster.update(server=f"https://{CLOSED}"),
            "no answer from",
            "check the server in the kubeconfig",
        ),
        (
            lambda cluster, user: cluster.pop("certificate-authority-data"),
            "is not trusted; give the kubeconfig its certificate-authority",
            "",
        ),
        (lambda cluster, user: user.update(token="no-token"), "", "make a new token"),
    ],
    ids=["unreachable", "certificate", "token"],
)
def test_a_kubernetes_api_that_does_not_let_the_pack_in(
    config: Config, tmp_path: Path, change: Any, message: str, remedy: str
) -> None:
    kubeconfig(config, tmp_path / "kubeconfig", change)
    says(config, "Kubernetes", message, remedy)


def test_an_account_without_rights(config: Config, sandbox: Environment, tmp_path: Path) -> None:
    """Each role that is missing is a line, with the command that grants it."""
    token = sandbox.kubernetes.service_account_token("kubestorm", "default")
    kubeconfig(config, tmp_path / "kubeconfig", lambda _, user: user.update(token=token))
    says(config, "Kubernetes", "(kubestorm-databases)", "bin/kubestorm-rbac")
    says(config, "Kubernetes", "leases.coordination.k8s.io", "kubectl apply -f -")


def test_crds_that_are_missing_or_of_another_version(
    config: Config, sandbox: Environment, tmp_path: Path
) -> None:
    """An administrator's account may read the schema, too."""
    config["kubernetes"]["kubeconfig"] = str(sandbox.kubeconfig)
    crd = yaml.safe_load((ROOT / "crds" / "rollouts.kubestorm.io.yaml").read_text())
    kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    other = copy.deepcopy(crd)
    schema = other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["other"] = {"type": "string"}
    try:
        sandbox.apply(other)
        says(config, "Kubernetes", "not the one of this version", "kubectl apply -f crds/")
        sandbox.delete(*kind, "rollouts.kubestorm.io")
        says(config, "Kubernetes", "rollouts.kubestorm.io is missing", "kubectl apply -f crds/")
    finally:
        sandbox.apply(crd)
        sandbox.kubernetes.wait_for_crds()
    assert red(config, "Kubernetes") == []


def vault_token(sandbox: Environment, path: Path, policies: list[str]) -> dict[str, Any]:
    answer = sandbox.vault_client().auth.token.create(policies=policies)
    path.write_text(answer["auth"]["client_token"])
    return {"method": "token", "token_file": str(path)}


def test_a_vault_that_does_not_let_the_pack_in(
    config: Config, sandbox: Environment, tmp_path: Path
) -> None:
    """The address, the secret id, the policy, the mount, the version of the KV engine."""
    url = config["vault"]["url"]
    config["vault"]["url"] = f"http://{CLOSED}"
    says(config, "Vault", "cannot be reached", "check vault.url")
    config["vault"]["url"] = url
    secret = tmp_path / "secret-id"
    secret.write_text("no-secret-id")
    config["vault"]["auth"]["secret_id_file"] = str(secret)
    says(config, "Vault", "Vault", "vault write -f -field=secret_id auth/approle/role/kubestorm")
    config["vault"]["auth"] = vault_token(sandbox, tmp_path / "bare", ["default"])
    says(config, "Vault", "May not create, read, update", "deploy/vault-policy.hcl")
    (tmp_path / "bare").write_text("no-token")
    says(config, "Vault", "Vault", "vault token create -policy=kubestorm")
    config["vault"]["auth"] = vault_token(sandbox, tmp_path / "root", ["root"])
    client = sandbox.vault_client()
    client.sys.enable_secrets_engine("kv", path="old", options={"version": "1"})
    config["vault"]["mount"] = "old"
    says(config, "Vault", "old is KV version 1; version 2 is needed", "")
    del config["vault"]["auth"]["token_file"]
    says(config, "configuration", "set vault.auth.token_file", "")


def test_a_sealed_vault(config: Config, tmp_path: Path) -> None:
    """The next step is to unseal it."""
    from sandbox.vault import VaultServer

    with VaultServer(dev=True, root_token="root-of-the-sealed") as vault:
        import hvac

        hvac.Client(vault.url, token="root-of-the-sealed").sys.seal()
        (tmp_path / "token").write_text("root-of-the-sealed")
        auth = {"method": "token", "token_file": str(tmp_path / "token")}
        config["vault"] = {"url": vault.url, "auth": auth}
        says(config, "Vault", "sealed", "vault operator unseal")


def test_a_consul_that_does_not_let_the_pack_in(
    config: Config, sandbox: Environment, tmp_path: Path
) -> None:
    """The address, a token without the policy, one that only reads."""
    url = config["consul"]["url"]
    config["consul"]["url"] = f"http://{CLOSED}"
    says(config, "Consul", "cannot be reached", "check consul.url")
    config["consul"].update(url=url, token_file=str(tmp_path / "token"))
    (tmp_path / "token").write_text("no-token")
    says(config, "Consul", "Consul", "consul")
    reader = sandbox.consul.add_token('key_prefix "kubestorm/" { policy = "read" }', name="reader")
    (tmp_path / "token").write_text(reader)
    says(config, "Consul", "does not let the pack write", "deploy/consul-policy.hcl")


def test_aws_without_credentials_region_or_policy(
    config: Config, sandbox: Environment, tmp_path: Path
) -> None:
    """Each is called what it is; AWS is refused of nothing that it was not asked."""
    (tmp_path / "empty").write_text("[default]\n")
    real = dict(config["aws"])
    config["aws"]["credentials_file"] = str(tmp_path / "empty")
    says(config, "AWS", "There are no AWS credentials", "set aws.credentials_file")
    config["aws"] = {"region": "eu-centrl-1", "credentials_file": real["credentials_file"]}
    says(config, "AWS", "eu-centrl-1, which AWS does not have; did you mean eu-central-1?", "set")
    config["aws"] = {**real, "endpoint_url": f"http://{CLOSED}"}
    says(config, "AWS", "AWS cannot be reached", "")
    config["aws"] = real
    iam = boto3.client("iam", endpoint_url=sandbox.aws.url, **KEYS)
    iam.create_user(UserName="bare")
    allowed = {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="bare", PolicyName="sts", PolicyDocument=policy)
    key = iam.create_access_key(UserName="bare")["AccessKey"]
    lines = ["[default]", f"aws_access_key_id = {key['AccessKeyId']}"]
    lines.append(f"aws_secret_access_key = {key['SecretAccessKey']}")
    (tmp_path / "bare").write_text("\n".join(lines) + "\n")
    sandbox.aws.enforce_iam(True)
    try:
        says(config, "AWS", "AWS refused the credentials", "set aws.credentials_file")
        config["aws"] = {**real, "credentials_file": str(tmp_path / "bare")}
        says(config, "AWS", "does not allow the pack", "attach deploy/iam-policy.json")
    finally:
        sandbox.aws.enforce_iam(False)


def test_registries_git_servers_and_slack(config: Config, tmp_path: Path) -> None:
    """Only what is configured is tried."""
    entry = {"push_vault_path": "registries/absent"}
    config["registries"]["hosts"] = [{"host": CLOSED, "insecure_http": True, "access": [entry]}]
    says(config, "registries", CLOSED, "check url, ca_file and credentials")
    says(config, "registries", "no username and password", "vault kv put secret/registries/absent")
    config["build"]["source"]["hosts"] = ["*.example.com", CLOSED]
    says(config, "git", f"{CLOSED} cannot be reached", "check build.source.hosts")
    (tmp_path / "bot").write_text("xoxb-no-token")
    slack = {"bot_token_file": str(tmp_path / "bot"), "base_url": f"http://{CLOSED}/api/"}
    config["slack"] = slack
    says(config, "Slack", "Slack", "Bot User OAuth Token")
