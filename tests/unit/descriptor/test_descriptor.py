"""`default.json`: what it says, what is wrong with it and on which line, and what it becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubestorm.core.errors import DefinitionError
from kubestorm.core.settings import load_settings
from kubestorm.kinds.build.base_images.dockerfile import find_bases
from kubestorm.kinds.build.descriptor.plan import applications, dockerfile, image_build
from kubestorm.kinds.build.descriptor.reading import DescriptorError, read
from kubestorm.kinds.build.descriptor.settings import DescriptorSettings
from kubestorm.kinds.build.descriptor.spec import SCHEMA, Descriptor, Service, parse

WHOLE = """\
// The shop's cart.
{
  "namespace": "shop",
  "application": {"name": "cart", "type": "java", "version": "1.4"}, /* what is built
                                                                        by whom */
  "build": {
    "system_setup": {"buildfacts": {"java_version": 17, "debug": false,
                                    "url": "https://x//y # no comment"}},
    # tests first
    "build_steps": ["./gradlew test", ["make", "-C", "docs"]]
  },
  "build_command": "./gradlew debian",
\t"artifacts": ["build/distributions/*.deb", "config.yaml"],
  "services": [
    {"name": "cart", "external_url": "https://cart.example.com/v1", "application": "cart",
     "instances": {"min": 2, "max": 6}},
    {"name": "cart-worker"}
  ]
}
"""
CONFIG = {
    "cluster": "demo",
    "descriptor": {
        "types": {
            "java": {
                "base_image": "registry.example.com/base/java:17",
                "build_image": "registry.example.com/base/jdk:17",
                "command": ["/usr/bin/{name}"],
            }
        }
    },
}
SETTINGS = DescriptorSettings.from_config(CONFIG)


def test_everything_that_it_may_say() -> None:
    """Comments of three kinds, a tab and what looks like a comment in a string change nothing."""
    assert parse(WHOLE, ["java"]) == Descriptor(
        namespace="shop",
        name="cart",
        type="java",
        version="1.4",
        buildfacts={"java_version": "17", "debug": "false", "url": "https://x//y # no comment"},
        steps=("./gradlew test", ("make", "-C", "docs"), "./gradlew debian"),
        artifacts=("build/distributions/*.deb", "config.yaml"),
        services=(
            Service("cart", "cart.example.com", "/v1", True, 2, 6),
            Service("cart-worker", None, "/", True, 1, 1),
        ),
    )


HEAD = '{"namespace": "shop",\n "application": {"name": "cart", "type": "java"}'
WRONG: dict[str, tuple[str, str]] = {
    "no JSON": ('{\n  "namespace": shop\n}', "line 2: invalid JSON"),
    "a comma too much": (
        '{"namespace": "shop",\n}',
        "line 2: invalid JSON: .*a comma before a closing bracket",
    ),
    "an open comment": ('{\n/* "namespace": 1}', "line 2: invalid JSON"),
    "no number": (HEAD + ',\n "build_command": NaN}', "is invalid. invalid JSON"),
    "not an object": ("[1]", "line 1: must be an object"),
    "missing": ('{"namespace": "shop"}', "application is missing"),
    "twice": (
        HEAD + ',\n "artifacts": [],\n "artifacts": []}',
        "line 4: duplicate key 'artifacts'",
    ),
    "mistyped": (
        HEAD + ',\n "artefacts": []}',
        "line 3: unknown field 'artefacts'; known fields are namespace, application",
    ),
    "a fact's name": (
        HEAD + ',\n "build": {\n "system_setup": {"buildfacts":\n {"a b": 1}}}}',
        "line 4: build.system_setup.buildfacts: must match .* not 'a b'",
    ),
    "a step": (
        HEAD + ',\n "build": {"build_steps": [\n "x", 7]}}',
        r"line 4: build.build_steps\[1\]: must be a shell command line.* not 7",
    ),
    "a type that is not offered": (
        '{"namespace": "shop",\n"application": {"name": "cart",\n"type": "cobol"}}',
        "line 3: application.type: must be one of java .*, not 'cobol'",
    ),
    "an artifact outside": (
        HEAD + ',\n "artifacts": ["a",\n "../../etc/passwd"]}',
        "line 4: .* must be a path below the repository's root",
    ),
    "more than most": (
        HEAD + ',\n "services": [{"name": "a", "instances": {"min": 3,\n"max": 2}}]}',
        r"line 4: services\[0\].instances.max: must not be below min \(3\), is 2",
    ),
    "another application": (
        HEAD + ',\n "services": [{"name": "a", "application": "b"}]}',
        "line 3: .*must be 'cart', .*, not 'b'",
    ),
    "a service twice": (
        HEAD + ',\n "services": [{"name": "a"},\n{"name": "a"}]}',
        "line 4: .*'a' is used twice",
    ),
    "no address": (
        HEAD + ',\n "services": [{"name": "a", "external_url": "ftp://x"}]}',
        "line 3: .*must be a URL such as",
    ),
    "too deep": ('{"a":' * 20_000, "invalid JSON"),
    "too long": (" " * 300_000, "at most 262144 characters"),
}


@pytest.mark.parametrize("text, sentence", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_with_its_line(text: str, sentence: str) -> None:
    """The sentence names line, place and what would be right."""
    with pytest.raises(DescriptorError, match=sentence):
        parse(text, ["java"])


def test_all_problems_are_said_at_once() -> None:
    """By line."""
    text = (
        '{"namespace": "Shop",\n"application": {"name": "cart", "type": "java", "x": 1},\n'
        '"artifacts": 7}'
    )
    with pytest.raises(DescriptorError) as caught:
        parse(text, ["java"])
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]


LEAVES = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_json_is_read_as_json(value: object) -> None:
    """Comments are a tolerance: they never change what is plain JSON."""
    assert read(json.dumps(value, indent=1)).value == value


def test_the_dockerfile_stands_on_the_types_images() -> None:
    """Steps run where the build image is, and only the artifacts go on."""
    text = dockerfile(parse(WHOLE, ["java"]), SETTINGS)
    assert find_bases(text).images == (
        "registry.example.com/base/jdk:17",
        "registry.example.com/base/java:17",
    )
    assert text.splitlines() == [
        "FROM registry.example.com/base/jdk:17 AS build",
        "WORKDIR /source",
        "COPY . .",
        'ENV debug="false"',
        'ENV java_version="17"',
        'ENV url="https://x//y # no comment"',
        'RUN ["/bin/sh", "-ec", "./gradlew test"]',
        'RUN ["make", "-C", "docs"]',
        'RUN ["/bin/sh", "-ec", "./gradlew debian"]',
        "FROM registry.example.com/base/java:17",
        'COPY --from=build ["/source/build/distributions/*.deb", "/artifacts/"]',
        'COPY --from=build ["/source/config.yaml", "/artifacts/"]',
        'RUN ["/bin/sh", "-ec", "dpkg --install /artifacts/*.deb && rm /artifacts/*.deb"]',
    ]


@pytest.mark.parametrize(
    "hostile", ["x\nFROM evil", 'x"]\nFROM evil', "x \\\nFROM evil", "$(id)\r\nFROM evil"]
)
def test_nothing_in_it_becomes_an_instruction(hostile: str) -> None:
    """A line end in a step, a path or a fact stays within its string."""
    descriptor = Descriptor(
        "shop",
        "cart",
        "java",
        buildfacts={"fact": hostile},
        steps=(hostile, (hostile,)),
        artifacts=(hostile,),
    )
    text = dockerfile(descriptor, SETTINGS)
    assert [line for line in text.splitlines() if line.startswith("FROM")] == [
        "FROM registry.example.com/base/jdk:17 AS build",
        "FROM registry.example.com/base/java:17",
    ]


def test_the_example_can_be_used() -> None:
    """examples/default.json says all that one may say, and each of its services is accepted."""
    from kubestorm.kinds.application.spec import parse as parse_application

    text = (Path(__file__).resolve().parents[3] / "examples" / "default.json").read_text()
    found = parse(text, ["java"])
    assert set(read(text).value) == set(SCHEMA["properties"])
    config = {**CONFIG, "registries": {"default": "registry.example.com"}}
    made = applications(found, SETTINGS, branch="main", file="default.json")
    assert [parse_application(each, load_settings(config)).name for each in made] == [
        "cart",
        "cart-worker",
    ]


def test_the_build_follows_the_branch() -> None:
    """Where the descriptor was read from is where the image is built from."""
    made = image_build(
        parse(WHOLE, ["java"]),
        SETTINGS,
        url="https://git.example.com/shop/cart.git",
        branch="main",
        credentials_path="builds/demo/shop/git",
        file="default.json",
    )
    assert made["metadata"] == {
        "name": "cart",
        "namespace": "shop",
        "annotations": {
            "kubestorm.io/descriptor": "default.json",
            "kubestorm.io/application-version": "1.4",
        },
    }
    assert made["spec"]["source"] == {
        "url": "https://git.example.com/shop/cart.git",
        "branch": "main",
        "credentials": {"vaultPath": "builds/demo/shop/git"},
    }
    assert [image["repository"] for image in made["spec"]["images"]] == ["shop/cart"]


def test_each_service_becomes_an_application_that_is_accepted() -> None:
    """With the health check and the resources of its type, nothing has to be added by hand."""
    from kubestorm.kinds.application.spec import parse as parse_application

    made = applications(parse(WHOLE, ["java"]), SETTINGS, branch="main", file="default.json")
    config = {**CONFIG, "registries": {"default": "registry.example.com"}}
    cart, worker = (parse_application(each, load_settings(config)) for each in made)
    assert (cart.repository, cart.replicas.min, cart.replicas.max) == ("shop/cart", 2, 6)
    assert cart.exposure.hosts == ("cart.example.com",)
    assert worker.exposure.hosts == ()
    assert worker.command == ("/usr/bin/cart-worker",)


def test_a_type_without_a_base_image_is_a_wrong_setting() -> None:
    """The sentence names the setting."""
    with pytest.raises(DefinitionError, match=r"descriptor\.types\.java needs base_image"):
        DescriptorSettings.from_config({"descriptor": {"types": {"java": {}}}})
    with pytest.raises(DefinitionError, match=r"Unknown setting descriptor\.types\.java\.image"):
        DescriptorSettings.from_config({"descriptor": {"types": {"java": {"image": "x"}}}})


def test_services_follow_the_branch_as_its_tags_name_it() -> None:
    """Tags know no slashes and builds make no capitals."""
    made = applications(parse(WHOLE, ["java"]), SETTINGS, branch="Feature/x", file="default.json")
    assert {each["spec"]["follow"]["branch"] for each in made} == {"feature-x"}
