"""What StackStorm 3.9 does not register or cannot use, case by case, with the sentence that
`stormcell check` has for it (decision 0118).

Each case is one file of a pack that is otherwise right: its path, its text, and the sentence. The
cases were held against StackStorm's own registrars and `st2-validate-pack`, and so were many
thousand mutations of right files.
"""

from __future__ import annotations

import pytest
from stormcell.checks import check_folders
from stormcell.content.registry import DefinitionWarning

from tests.unit.content.conftest import PACK_YAML, WritePack

BESIDE = {
    "actions/run.py": "class Run:\n    def run(self): pass\n",
    "actions/flows/chain.json": "{}\n",
    "actions/flows/merged.yaml": (
        "chain:\n  - &a {name: a, ref: core.noop}\n  - {<<: *a, name: b}\n"
    ),
    "actions/flows/lost.yaml": "chain:\n  - {name: a, ref: core.noop, on-success: b}\n",
    "actions/flows/flow.yaml": "version: 1.0\ntasks: {a: {action: core.noop}}\n",
    "sensors/watcher.py": "class Watcher:\n    pass\n",
    "triggers/event.yaml": (
        "name: event\n"
        "payload_schema: {type: object, properties: {items: {type: array, required: true}}}\n"
    ),
    "triggers/sized.yaml": (
        "name: sized\nparameters_schema:\n  type: object\n  additionalProperties: false\n"
        "  properties: {size: {type: integer, required: true}, unit: {type: string}}\n"
    ),
}
ACTION = "name: a\nrunner_type: noop\n"
RULE = "name: r\ntrigger: {type: sample.event}\naction: {ref: core.noop}\n"
SENSOR = "class_name: Watcher\nentry_point: watcher.py\n"
ALIAS = "name: say\naction_ref: core.noop\nformats: [say it]\n"
POLICY = "name: p\nresource_ref: core.noop\npolicy_type: action.concurrency\n"

REFUSED: dict[str, dict[str, tuple[str, str, str]]] = {
    "every kind": {
        "dollar key in a trigger type": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {properties: {$id: {type: string}}}\n",
            "payload_schema.properties.$id (line 2): StackStorm cannot store a key that starts with '$'.",
        ),
        "dollar key in a rule": (
            "rules/r.yaml",
            RULE + "context: {$a: 1}\n",
            "context.$a (line 4): StackStorm cannot store a key that starts with '$'.",
        ),
        "key without a value": (
            "aliases/say.yaml",
            ALIAS + "description:\n",
            "description (line 4): must be text, and is nothing (null). Give it a value or remove the key.",
        ),
        "unknown key": (
            "rules/r.yaml",
            RULE + "critera: {}\n",
            "the key 'critera' is not one that StackStorm knows here. Did you mean 'criteria'?",
        ),
        "tag that is a word": (
            "rules/r.yaml",
            RULE + "tags: [urgent]\n",
            "tags[0] (line 4): must be a mapping, and is text.",
        ),
        "empty file": ("rules/r.yaml", "", "is empty. It must hold a mapping of keys to values."),
        "list": (
            "rules/r.yaml",
            "- a\n",
            "holds a list. It must hold a mapping of keys to values.",
        ),
        "other pack": (
            "rules/r.yaml",
            RULE + "pack: other\n",
            "pack: names the pack 'other', and lies in 'sample'. Remove the key `pack`: it follows from the folder.",
        ),
    },
    "pack.yaml": {
        "no version": (
            "pack.yaml",
            PACK_YAML.replace("version: 0.1.0\n", ""),
            "the key 'version' is missing. Add it.",
        ),
        "version of two numbers": (
            "pack.yaml",
            PACK_YAML.replace("0.1.0", "'1.0'"),
            "version: the version '1.0' is not a semantic version. Write three numbers, as in 0.1.0.",
        ),
        "no email": (
            "pack.yaml",
            PACK_YAML.replace("email: some@body.example\n", ""),
            "the key 'email' is missing. StackStorm does not register a pack without one.",
        ),
        "email without a domain": (
            "pack.yaml",
            PACK_YAML.replace("some@body.example", "some@body"),
            "email (line 5): must be an e-mail address, such as team@example.com. StackStorm does not register a pack without one.",
        ),
        "stackstorm_version of two numbers": (
            "pack.yaml",
            PACK_YAML + "stackstorm_version: '>=3.8'\n",
            'stackstorm_version (line 6): must be versions of three numbers, as in ">=3.8.0".',
        ),
        "python_versions as a number": (
            "pack.yaml",
            PACK_YAML + "python_versions: [3]\n",
            "python_versions[0] (line 6): must be one of 2, 3. Did you mean '3'?",
        ),
        "ref with a dash": (
            "pack.yaml",
            PACK_YAML + "ref: a-b\n",
            "ref (line 6): must be lower-case letters, digits and underscores.",
        ),
        "name that can be no ref": (
            "pack.yaml",
            PACK_YAML.replace("name: sample", "name: A Sample"),
            "ref: the name 'A Sample' cannot serve as the pack's ref. Add a `ref` of lower-case letters, digits and underscores.",
        ),
        "reserved ref": (
            "pack.yaml",
            PACK_YAML + "ref: _global\n",
            "ref: '_global' is a reserved name. Choose another.",
        ),
    },
    "parameters and settings": {
        "required as a list": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {type: object, required: [y]}}\n",
            "parameters.x.required (line 3): must be true or false, and is a list. Write `required: true` at each property that must be there.",
        ),
        "required as a word": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {type: string, required: 'yes'}}\n",
            "parameters.x.required (line 3): must be true or false, and is text. Write `required: true` at each property that must be there.",
        ),
        "required as a list, deep": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {type: array, items: {type: object, required: [y]}}}\n",
            "parameters.x.items.required (line 3): must be true or false, and is a list. Write `required: true` at each property that must be there.",
        ),
        "no schema": (
            "actions/a.yaml",
            ACTION + "parameters: {x: }\n",
            "parameters.x (line 3): must be a mapping, and is nothing (null). Give it a value or remove the key.",
        ),
        "unknown key": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {typ: string}}\n",
            "parameters.x (line 3): the key 'typ' is not one that StackStorm knows here. Did you mean 'type'?",
        ),
        "format": (
            "config.schema.yaml",
            "x: {type: string, format: date-time}\n",
            "x (line 1): the key 'format' is not one that StackStorm knows here. Known: $schema, additionalItems, additionalProperties, allOf, anyOf, default, definitions, dependencies, description, enum, exclusiveMaximum, exclusiveMinimum, id, immutable, items, maxItems, maxLength, maxProperties, maximum, minItems, minLength, minProperties, minimum, multipleOf, not, oneOf, pattern, patternProperties, position, properties, required, secret, title, type, uniqueItems.",
        ),
        "type list": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {type: [string, integer]}}\n",
            "parameters.x.type (line 3): must be one of array, boolean, integer, null, number, object, string.",
        ),
        "unknown type": (
            "config.schema.yaml",
            "x: {type: strng}\n",
            "x.type (line 1): must be one of array, boolean, integer, null, number, object, string. Did you mean 'string'?",
        ),
        "null alone": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {type: 'null'}}\n",
            "parameters.x.type (line 3): StackStorm breaks on the type null alone. Name another type: what is optional may be null anyway.",
        ),
        "items by place": (
            "config.schema.yaml",
            "x: {type: array, items: [{type: string}]}\n",
            "x.items (line 1): StackStorm breaks on a list of schemas here. Write one schema for all items.",
        ),
        "empty enum": (
            "config.schema.yaml",
            "x: {enum: []}\n",
            "x.enum (line 1): must have at least 1 item.",
        ),
        "enum that repeats": (
            "config.schema.yaml",
            "x: {enum: [a, a]}\n",
            "x.enum (line 1): must not name a value twice.",
        ),
        "bound without a number": (
            "config.schema.yaml",
            "x: {type: integer, exclusiveMinimum: true}\n",
            "x (line 1): 'exclusiveMinimum' needs 'minimum' beside it.",
        ),
        "negative length": (
            "config.schema.yaml",
            "x: {type: string, maxLength: -1}\n",
            "x.maxLength (line 1): must be 0 or more.",
        ),
        "name with a dash": (
            "actions/a.yaml",
            ACTION + "parameters: {a-b: {type: string}}\n",
            "parameters (line 3): the key 'a-b' must be letters, digits and underscores.",
        ),
        "position of a half": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {position: 0.5}}\n",
            "parameters.x.position (line 3): must be a whole number, and is a decimal number.",
        ),
        "positions with a gap": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {position: 0}, y: {position: 2}}\n",
            "parameters (line 3): the positions 0, 2 have a gap. Count without leaving numbers out.",
        ),
        "same position": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {position: 0}, y: {position: 0}}\n",
            "parameters.y.position (line 3): 'x' has the same position. Give each its own.",
        ),
        "immutable without a default": (
            "actions/a.yaml",
            ACTION + "parameters: {x: {immutable: true}}\n",
            "parameters.x (line 3): an immutable parameter needs a default. Nobody else can give it a value.",
        ),
        "type of a runner's parameter": (
            "actions/a.yaml",
            "name: a\nrunner_type: local-shell-cmd\nparameters: {timeout: {type: string}}\n",
            "parameters.timeout.type (line 3): 'type' of the parameter 'timeout' is set by the runner local-shell-cmd. An action changes only default, description, enum, immutable, required of it.",
        ),
        "output of unknown type": (
            "actions/a.yaml",
            ACTION + "output_schema: {type: object, properties: {x: {type: strng}}}\n",
            "output_schema.properties.x.type (line 3): must be one of array, boolean, integer, null, number, object, string or a list, and is text. Did you mean 'string'?",
        ),
        "empty configuration schema": (
            "config.schema.yaml",
            "",
            "is empty. It must hold a mapping of keys to values.",
        ),
    },
    "action": {
        "no parameters after the key": (
            "actions/a.yaml",
            ACTION + "parameters:\n",
            "parameters (line 3): must be a mapping, and is nothing (null). Give it a value or remove the key.",
        ),
        "unknown runner": (
            "actions/a.yaml",
            "name: a\nrunner_type: python-scrpt\n",
            "runner_type (line 2): there is no runner 'python-scrpt'. Did you mean 'python-script'? Known: action-chain, announcement, http-request, inquirer, local-shell-cmd, local-shell-script, noop, orquesta, python-script.",
        ),
        "runner with an underscore": (
            "actions/a.yaml",
            "name: a\nrunner_type: action_chain\n",
            "runner_type (line 2): there is no runner 'action_chain'. Did you mean 'action-chain'? Known: action-chain, announcement, http-request, inquirer, local-shell-cmd, local-shell-script, noop, orquesta, python-script.",
        ),
        "runner of StackStorm alone": (
            "actions/a.yaml",
            "name: a\nrunner_type: remote-shell-cmd\n",
            "runner_type (line 2): stormcell has no runner 'remote-shell-cmd'. StackStorm itself has it; here use local-shell-cmd, or a python-script that connects.",
        ),
        "no entry point": (
            "actions/a.yaml",
            "name: a\nrunner_type: python-script\n",
            "entry_point: the runner python-script needs an entry_point. Name a file under actions/.",
        ),
        "absent entry point": (
            "actions/a.yaml",
            "name: a\nrunner_type: python-script\nentry_point: rum.py\n",
            "entry_point (line 3): the file actions/rum.py does not exist. Did you mean 'run.py'?",
        ),
        "entry point outside": (
            "actions/a.yaml",
            "name: a\nrunner_type: orquesta\nentry_point: ../x.yaml\n",
            "entry_point (line 3): the entry_point must lie under actions/. Put it there, or link its folder (actions/workflows -> ../workflows).",
        ),
        "entry point of a command": (
            "actions/a.yaml",
            "name: a\nrunner_type: local-shell-cmd\nentry_point: run.py\n",
            "entry_point (line 3): local-shell-cmd takes no entry_point. Use local-shell-script for a file.",
        ),
        "chain in JSON": (
            "actions/a.yaml",
            "name: a\nrunner_type: action-chain\nentry_point: flows/chain.json\n",
            "entry_point (line 3): StackStorm reads a chain only from a .yaml file. Rename it.",
        ),
        "notify with a text": (
            "actions/a.yaml",
            ACTION + "notify: {on-complete: done}\n",
            "notify.on-complete (line 3): must be a mapping, and is text.",
        ),
        "notify at an unknown moment": (
            "actions/a.yaml",
            ACTION + "notify: {on-error: {message: m}}\n",
            "notify (line 3): the key 'on-error' is not one that StackStorm knows here. Known: on-complete, on-failure, on-success.",
        ),
    },
    "trigger type or sensor": {
        "required as a list": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {type: object, required: [a], properties: {a: {type: string}}}\n",
            "payload_schema.required (line 2): must be true or false, and is a list. Write `required: true` at each property that must be there.",
        ),
        "required as a list in a sensor": (
            "sensors/s.yaml",
            SENSOR
            + "trigger_types:\n  - name: t\n    parameters_schema: {type: object, properties: {a: {type: object, required: [b]}}}\n",
            "trigger_types[0].parameters_schema.properties.a.required (line 5): must be true or false, and is a list. Write `required: true` at each property that must be there.",
        ),
        "schema that is a list": (
            "triggers/t.yaml",
            "name: t\npayload_schema: [a]\n",
            "payload_schema (line 2): must be a mapping, and is a list.",
        ),
        "unknown type": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {type: objekt}\n",
            "payload_schema.type (line 2): must be one of array, boolean, integer, null, number, object, string or a list, and is text. Did you mean 'object'?",
        ),
        "properties without a schema": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {properties: {a: }}\n",
            "payload_schema.properties.a (line 2): must be a mapping, and is nothing (null). Give it a value or remove the key.",
        ),
        "null alone": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {properties: {a: {type: 'null'}}}\n",
            "payload_schema.properties.a.type (line 2): StackStorm breaks on the type null alone. Name another type: what is optional may be null anyway.",
        ),
        "items by place": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {properties: {a: {type: array, items: [{}]}}}\n",
            "payload_schema.properties.a.items (line 2): StackStorm breaks on a list of schemas here. Write one schema for all items.",
        ),
        "pattern that is none": (
            "triggers/t.yaml",
            "name: t\npayload_schema: {properties: {a: {pattern: '('}}}\n",
            "payload_schema (line 2): not a usable JSON schema: missing ), unterminated subpattern at position 0.",
        ),
        "sensor without an entry point": (
            "sensors/s.yaml",
            "class_name: Watcher\n",
            "the key 'entry_point' is missing. Add it.",
        ),
        "absent sensor file": (
            "sensors/s.yaml",
            "class_name: Watcher\nentry_point: watchr.py\n",
            "entry_point (line 2): the file sensors/watchr.py does not exist. Did you mean 'watcher.py'?",
        ),
        "absent class": (
            "sensors/s.yaml",
            "class_name: Watchr\nentry_point: watcher.py\n",
            "class_name (line 1): sensors/watcher.py has no class 'Watchr'. Did you mean 'Watcher'?",
        ),
        "poll too often": (
            "sensors/s.yaml",
            SENSOR + "poll_interval: 3\n",
            "poll_interval (line 3): must be 4 or more.",
        ),
        "poll interval as text": (
            "sensors/s.yaml",
            SENSOR + "poll_interval: '5'\n",
            "poll_interval (line 3): must be a number, and is text.",
        ),
        "no list of trigger types": (
            "sensors/s.yaml",
            SENSOR + "trigger_types:\n",
            "trigger_types (line 3): must be a list, and is nothing (null). Give it a value or remove the key.",
        ),
    },
    "criteria": {
        "empty": (
            "rules/r.yaml",
            RULE + "criteria:\n",
            "criteria (line 4): must be a mapping, and is nothing (null). Give it a value or remove the key.",
        ),
        "text": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: b}\n",
            "criteria.trigger.a (line 4): must be a mapping, and is text.",
        ),
        "no operator": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {pattern: b}}\n",
            "criteria.trigger.a (line 4): has no operator. Give it a `type`, such as equals.",
        ),
        "unknown operator": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {type: equls, pattern: b}}\n",
            "criteria.trigger.a.type (line 4): there is no operator 'equls'. Did you mean 'equals'?",
        ),
        "operator in capitals": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {type: Equals, pattern: b}}\n",
            "criteria.trigger.a.type (line 4): there is no operator 'Equals'. Did you mean 'equals'?",
        ),
        "exists without a pattern": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {type: exists}}\n",
            "criteria.trigger.a (line 4): has no pattern. Any value will do, such as true.",
        ),
        "null as pattern": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {type: equals, pattern: }}\n",
            "criteria.trigger.a (line 4): has no pattern. Say what to compare with.",
        ),
        "regular expression": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {type: regex, pattern: '('}}\n",
            "criteria.trigger.a.pattern (line 4): the pattern is not a regular expression (missing ), unterminated subpattern at position 0).",
        ),
        "wrong root": (
            "rules/r.yaml",
            RULE + "criteria: {payload.a: {type: equals, pattern: b}}\n",
            "criteria.payload.a (line 4): the key must start with 'trigger.' to find anything.",
        ),
        "no JSON path": (
            "rules/r.yaml",
            RULE + "criteria: {'trigger.[': {type: equals, pattern: b}}\n",
            "criteria.trigger.[ (line 4): the key is not a JSON path. Write names with dashes or dots as ['a-b'].",
        ),
        "search without a condition": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.items: {type: search, pattern: {}}}\n",
            "criteria.trigger.items.condition (line 4): a search cannot have the condition 'None'. One of all, any, all2any, any2any.",
        ),
        "search for a text": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.items: {type: search, condition: any, pattern: x}}\n",
            "criteria.trigger.items.pattern (line 4): a search needs a mapping of `item.x` to criteria.",
        ),
        "wrong root in a search": (
            "rules/r.yaml",
            RULE
            + "criteria:\n  trigger.items: {type: search, condition: any, pattern: {x: {type: eq, pattern: 1}}}\n",
            "criteria.trigger.items.pattern.x (line 5): the key must start with 'item.' to find anything.",
        ),
        "template": (
            "rules/r.yaml",
            RULE + "criteria: {trigger.a: {type: equals, pattern: '{{ a'}}\n",
            "criteria.trigger.a.pattern: the template '{{ a' does not parse (unexpected end of template, expected 'end of print statement'.).",
        ),
    },
    "rule": {
        "no trigger": (
            "rules/r.yaml",
            "name: r\naction: {ref: core.noop}\n",
            "the key 'trigger' is missing. Add it.",
        ),
        "unknown key of the action": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.event}\naction: {ref: core.noop, params: {}}\n",
            "action (line 3): the key 'params' is not one that StackStorm knows here. Did you mean 'parameters'?",
        ),
        "enabled as a word": (
            "rules/r.yaml",
            RULE + "enabled: sure\n",
            "enabled (line 4): must be true or false, and is text.",
        ),
        "unknown rule type": (
            "rules/r.yaml",
            RULE + "type: {ref: backstp}\n",
            "type.ref (line 4): there is no rule type 'backstp'. Did you mean 'backstop'?",
        ),
        "trigger type without a pack": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: event}\naction: {ref: core.noop}\n",
            "trigger.type (line 2): 'event' is not a ref. Write PACK.NAME.",
        ),
        "absent trigger type of its own": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.evnt}\naction: {ref: core.noop}\n",
            "trigger.type: there is no trigger type 'sample.evnt'. Did you mean 'sample.event'?",
        ),
        "trigger parameter of another type": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.sized, parameters: {size: big}}\naction: {ref: core.noop}\n",
            "trigger.parameters: 'size' must be of type integer. See the parameters_schema of sample.sized.",
        ),
        "trigger parameter missing": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.sized, parameters: {unit: m}}\naction: {ref: core.noop}\n",
            "trigger.parameters: 'size' is a required property. See the parameters_schema of sample.sized.",
        ),
        "trigger parameter unknown": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.sized, parameters: {size: 1, width: 2}}\naction: {ref: core.noop}\n",
            "trigger.parameters: has keys that are not known: 'width'. See the parameters_schema of sample.sized.",
        ),
        "unit of a timer": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.IntervalTimer, parameters: {unit: second, delta: 5}}\naction: {ref: core.noop}\n",
            "trigger.parameters: 'unit' must be one of weeks, days, hours, minutes, seconds. See the parameters_schema of core.st2.IntervalTimer.",
        ),
        "timer on a weekday that is none": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: core.st2.CronTimer, parameters: {day_of_week: monday}}\naction: {ref: core.noop}\n",
            "trigger.parameters: the parameters {'day_of_week': 'monday'} of core.st2.CronTimer cannot be scheduled: Invalid weekday name \"monday\". See parameters_schema of the trigger type.",
        ),
        "action parameter unknown": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.event}\naction: {ref: core.local, parameters: {cmd: date, cwdd: /}}\n",
            "action.parameters: the action core.local has no parameter 'cwdd'. Did you mean 'cwd'?",
        ),
        "action parameter missing": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.event}\naction: {ref: core.local}\n",
            "action.parameters: the action core.local needs the parameter 'cmd'. Give it a value.",
        ),
        "template of a parameter": (
            "rules/r.yaml",
            "name: r\ntrigger: {type: sample.event}\naction: {ref: core.local, parameters: {cmd: '{{ a'}}\n",
            "action.parameters.cmd: the template '{{ a' does not parse (unexpected end of template, expected 'end of print statement'.).",
        ),
    },
    "alias or policy": {
        "no format": (
            "aliases/say.yaml",
            "name: say\naction_ref: core.noop\nformats: []\n",
            "formats (line 3): must have at least 1 item.",
        ),
        "format that is no expression": (
            "aliases/a.yaml",
            "name: say\naction_ref: core.noop\nformats: ['([']\n",
            'formats: The format "([" is not a regular expression: unterminated character set at position 5.',
        ),
        "formats missing": (
            "aliases/say.yaml",
            "name: say\naction_ref: core.noop\n",
            "the key 'formats' is missing. Add it.",
        ),
        "representation as a text": (
            "aliases/say.yaml",
            "name: say\naction_ref: core.noop\nformats: [{display: d, representation: say it}]\n",
            "formats[0].representation (line 3): must be a list, and is text.",
        ),
        "format that says nothing": (
            "aliases/say.yaml",
            "name: say\naction_ref: core.noop\nformats: [{match_multiple: true}]\n",
            "formats[0] (line 3): has neither display nor representation. Give it one.",
        ),
        "ack as a text": (
            "aliases/say.yaml",
            ALIAS + "ack: coming\n",
            "ack (line 4): must be a mapping, and is text.",
        ),
        "append_url as a text": (
            "aliases/say.yaml",
            ALIAS + "ack: {append_url: 'no'}\n",
            "ack.append_url (line 4): must be true or false, and is text.",
        ),
        "action without a pack": (
            "aliases/say.yaml",
            "name: say\naction_ref: noop\nformats: [say it]\n",
            "action_ref (line 2): 'noop' is not a ref. Write PACK.NAME.",
        ),
        "unknown policy type": (
            "policies/p.yaml",
            "name: p\nresource_ref: core.noop\npolicy_type: action.retri\n",
            "policy_type (line 3): there is no policy type 'action.retri'. Did you mean 'action.retry'?",
        ),
        "threshold missing": (
            "policies/p.yaml",
            POLICY + "parameters: {action: delay}\n",
            "parameters (line 4): 'threshold' is a required property.",
        ),
        "threshold as a text": (
            "policies/p.yaml",
            POLICY + "parameters: {threshold: '5'}\n",
            "parameters (line 4): 'threshold' must be of type integer.",
        ),
        "parameter without a value": (
            "policies/p.yaml",
            POLICY + "parameters: {threshold: 5, action: }\n",
            "parameters.action (line 4): is nothing (null). Give it a value or remove it.",
        ),
        "delay of minutes": (
            "policies/p.yaml",
            "name: p\nresource_ref: core.noop\npolicy_type: action.retry\nparameters: {retry_on: failure, delay: 121}\n",
            "parameters (line 4): 'delay' breaks the schema's rule maximum: 120.",
        ),
    },
}
CASES = {f"{kind}: {name}": case for kind, cases in REFUSED.items() for name, case in cases.items()}


@pytest.mark.parametrize("file, text, sentence", CASES.values(), ids=CASES.keys())
def test_it_is_refused_in_a_sentence(
    write_pack: WritePack, file: str, text: str, sentence: str
) -> None:
    """The sentence names the file, the path in it with its line, what is wrong and what to do."""
    assert _told(write_pack, {file: text}) == [f"{file}: {sentence}"]


WORKFLOWS = {
    "merge key": (
        "flows/merged.yaml",
        "line 3: StackStorm cannot load the merge key '<<'. "
        "Write the keys out; a whole value may be repeated with an alias (`key: *name`).",
    ),
    "absent task": (
        "flows/lost.yaml",
        'Unable to find node with name "b" referenced in "on-success" in task "a".',
    ),
}


@pytest.mark.parametrize("flow, sentence", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_a_chain_is_refused_at_its_own_file(
    write_pack: WritePack, flow: str, sentence: str
) -> None:
    """Though nobody but the action's entry point leads to it."""
    action = f"name: a\nrunner_type: action-chain\nentry_point: {flow}\n"
    assert _told(write_pack, {"actions/a.yaml": action}) == [f"actions/{flow}: {sentence}"]


ACCEPTED = {
    "bare names": ("rules/r.yaml", RULE),
    "alias of a whole value": (
        "actions/a.yaml",
        ACTION + "parameters:\n  x: &x {type: string}\n  y: *x\n",
    ),
    "unknown keys below a parameter": (
        "actions/a.yaml",
        ACTION + "parameters: {x: {type: array, items: {$ref: '#/x', format: date}}}\n",
    ),
    "types below a parameter": (
        "actions/a.yaml",
        ACTION + "parameters: {x: {type: array, items: {type: [string, 'null']}}}\n",
    ),
    "required as true": (
        "triggers/t.yaml",
        "name: t\npayload_schema: {type: object, properties: {a: {type: string, required: true}}}\n",
    ),
    "null that must be given": (
        "triggers/t.yaml",
        "name: t\npayload_schema: {properties: {a: {type: 'null', required: true}}}\n",
    ),
    "older name of a runner": (
        "actions/a.yaml",
        "name: a\nrunner_type: orchestra\nentry_point: flows/flow.yaml\n",
    ),
    "dollar key below a parameter": (
        "actions/a.yaml",
        ACTION + "parameters: {x: {type: object, default: {$a: 1}}}\n",
    ),
    "parameters for a type nobody has yet": (
        "rules/r.yaml",
        "name: r\ntrigger: {type: other.sized, parameters: {size: 1}}\naction: {ref: core.noop}\n",
    ),
    "trigger parameters": (
        "rules/r.yaml",
        "name: r\ntrigger: {type: sample.sized, parameters: {size: 1, unit: }}\n"
        "action: {ref: core.noop}\n",
    ),
    "JSON, which nobody reads": ("actions/a.json", "{"),
}


@pytest.mark.parametrize("file, text", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_stackstorm_takes_is_taken(write_pack: WritePack, file: str, text: str) -> None:
    """Refusing more than StackStorm does would be as wrong."""
    assert _told(write_pack, {file: text}) == []


CRITERIA_ON_WHAT_MAY_MISS = {
    "search": ("trigger.list: {type: search, condition: any, pattern: {}}", "trigger.list"),
    "startswith": ("trigger.name: {type: startswith, pattern: a}", "trigger.name"),
    "deep": ("trigger.items.a: {type: gt, pattern: 1}", "trigger.items.a"),
    "guaranteed by the schema": (
        "trigger.items: {type: search, condition: any, pattern: {}}",
        None,
    ),
    "guarded": (
        "trigger.list#given: {type: exists, pattern: true}\n"
        "  trigger.list: {type: search, condition: any, pattern: {}}",
        None,
    ),
    "guarded too late": (
        "trigger.list: {type: search, condition: any, pattern: {}}\n"
        "  trigger.list#given: {type: exists, pattern: true}",
        "trigger.list",
    ),
    "no guard": (
        "trigger.name#1: {type: nequals, pattern: a}\n"
        "  trigger.name#2: {type: startswith, pattern: b}",
        "trigger.name#2",
    ),
    "equals": ("trigger.name: {type: equals, pattern: a}", None),
    "in a list": ("trigger.name: {type: in, pattern: [a]}", None),
    "in a text": ("trigger.name: {type: in, pattern: abc}", "trigger.name"),
}


@pytest.mark.parametrize(
    "criteria, key", CRITERIA_ON_WHAT_MAY_MISS.values(), ids=CRITERIA_ON_WHAT_MAY_MISS.keys()
)
def test_a_criterion_that_would_raise_is_warned_of(
    write_pack: WritePack, criteria: str, key: str | None
) -> None:
    """On StackStorm it is a failed enforcement for each event without the value."""
    root = write_pack({**BESIDE, "rules/r.yaml": RULE + f"criteria:\n  {criteria}\n"})
    problems = check_folders([root])
    assert all(isinstance(problem, DefinitionWarning) for problem in problems)
    path = (key or "").partition("#")[0]
    assert [str(problem) for problem in problems] == (
        []
        if key is None
        else [
            f"sample/rules/r.yaml: criteria.{key}: fails on StackStorm for each event without {path}. "
            f"Put `{path}#given: {{type: exists, pattern: true}}` before it, or make it "
            "`required: true` in the payload_schema of sample.event."
        ]
    )


def test_a_warning_hides_no_fault(write_pack: WritePack) -> None:
    """A rule for another pack's action, and with a template that cannot be read, is told both."""
    rule = (
        "name: r\ntrigger: {type: sample.event}\n"
        "action: {ref: slack.post_message, parameters: {message: '{{ trigger.x | '}}\n"
    )
    problems = check_folders([write_pack({**BESIDE, "rules/r.yaml": rule})])
    assert [isinstance(problem, DefinitionWarning) for problem in problems] == [True, False]
    assert "sample/rules/r.yaml: action.parameters.message:" in str(problems[1])


def _told(write_pack: WritePack, files: dict[str, str]) -> list[str]:
    problems = check_folders([write_pack({**BESIDE, **files})])
    return [
        str(problem).removeprefix("sample/")
        for problem in problems
        if not isinstance(problem, DefinitionWarning)
    ]
