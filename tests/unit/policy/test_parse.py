"""What a policy file may say, and the message for everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from taxii_server.errors import ConfigError
from taxii_server.policy import check, parse, schema

BAD = Path(__file__).parents[2] / "cases" / "bad-policy"
CASES = sorted(BAD.glob("*.toml"))


def problems_of(text: str, **options: object) -> list[str]:
    """What is wrong with a policy: refused, or loaded with warnings, failed examples and broken claims."""
    try:
        policy = parse({"policy.toml": text}, **options)  # type: ignore[arg-type]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return [str(problem) for problem in (*policy.warnings, *check(policy))]


def test_there_are_bad_policies():
    assert len(CASES) > 40


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_bad_policy_is_refused_with_the_message_on_its_first_lines(path):
    text = path.read_text()
    wanted = [line.removeprefix("# expect: ") for line in text.splitlines() if line.startswith("# expect: ")]
    assert wanted
    assert problems_of(text, collections=("shared", "vendor")) == [f"policy.toml: {line}" for line in wanted]


# ---- the reference policies


POLICIES = BAD.parent / "policies"
REFERENCE = ["1-interpol-hub.toml", "2-vendor-customer-data.toml", "3-orcon-rel-to.toml"]


@pytest.mark.parametrize("file", REFERENCE)
def test_every_example_and_claim_of_the_reference_policies_holds(file):
    policy = parse({file: (POLICIES / file).read_text()})
    assert check(policy) == []
    assert policy.warnings == ()
    assert policy.examples
    assert [rule for rule in policy.rules if rule.kind == "never"]


@pytest.mark.parametrize("file", REFERENCE)
def test_the_reference_policies_here_are_those_of_the_design(examples, file):
    assert (POLICIES / file).read_text() == (examples / file).read_text()


RU = '[audience.kaspersky]\nkind = "vendor"\ncountry = "RU"\nclearance = "green"'
VICTIMS = '[[forbid]]\nid = "victims"'
WRONG = [
    (1, RU, RU.replace("green", "amber"), "never 'ru-sees-amber' does not hold: kaspersky reads attack-pattern, amber"),
    (1, '"victim", "customer"', '"customer"', "never 'vendor-sees-victim' does not hold: talos reads identity, clear"),
    (1, '"victim", "customer"', '"customer"', "test[3].hide: cert-fr reads identity, green, victim by bka"),
    (1, 'country = "GB"', 'country = "UK"', "'UK' is not an ISO 3166-1 country code; did you mean 'GB'?"),
    (1, 'country = "FR"', 'country = "fr"', "'fr' is not an ISO 3166-1 country code; did you mean 'FR'?"),
    (
        1,
        'unless = { group = "le" }',
        'unless = { group = "lea" }',
        "unknown group 'lea' (known: csirts, csirts-eu, le)",
    ),
    (1, "clearance = ", "clearence = ", "audience.interpol: unknown key 'clearence'"),
    (1, "clearance = ", "clearence = ", "audience.interpol.clearance: missing"),
    (1, "what = { type", "wat = { type", "unknown key 'wat' (known: id, to, what, why) (rule 'soc-detection-content')"),
    (1, 'clearance = "red"', 'clearance = "red"\nclearance = "amber"', "not TOML: Cannot overwrite a value (at line"),
    (3, 'rel_to = ["NO"', "rel_to = [NO", "not TOML: Invalid value (at line"),
    (1, "csirts = {}", 'csirts = { within = ["csirts-eu"] }', "groups.csirts.within: the group lies within itself"),
    (1, 'id = "persons"', 'id = "le-everything"', "'le-everything' is the id of permit[1] in p already"),
    (1, 'unmarked = "deny"', 'unmarked = "tlp:purple"', "defaults.unmarked: unknown value 'tlp:purple'"),
    (1, 'to = { kind = "soc" }\ndrop', 'to = { kind = "socs" }\ndrop', "no audience of kind 'socs'"),
    (3, '["FR", "PL"]', '["FR"]', "never 'jit-pl-sees-fr-de' does not hold: jit-fr-pl reads"),
    (3, '["FR", "PL"]', '["FR"]', "test[1].hide: jit-fr-pl reads indicator"),
]


@pytest.mark.parametrize(("number", "old", "new", "message"), WRONG)
def test_a_wrong_variant_of_a_reference_policy_is_noticed(number, old, new, message):
    text = next(POLICIES.glob(f"{number}-*.toml")).read_text()
    assert old in text
    try:
        policy = parse({"p": text.replace(old, new, 1)})
        found = [*policy.warnings, *check(policy)]
    except ConfigError as error:
        found = list(error.problems)
    assert [problem for problem in found if message in str(problem)], [str(problem) for problem in found]


@pytest.mark.parametrize(
    "rule",
    [
        '[[forbid]]\nid = "r"\nwhat = { type = "%s" }',
        '[[forbid]]\nid = "r"\nwhat = { tlp = "green" }\nunless = { type = "%s" }',
        '[[never]]\nid = "r"\nto = { kind = "vendor" }\nwhat = { type = "%s" }',
        '[[guard]]\nid = "r"\nact = "refuse"\nwhat = { not_type = "%s" }',
    ],
)
def test_a_type_with_a_slip_is_warned_about_and_one_of_ones_own_is_not(rule):
    text = next(POLICIES.glob("1-*.toml")).read_text() + "\n"
    for type_, warnings in (
        ("identiy", ["'identiy' is no type of STIX; did you mean 'identity'? (rule 'r')"]),
        ("x-report", []),
        ("case", []),
    ):
        found = [str(each) for each in parse({"p": text + rule % type_}).warnings]
        assert [each.split(": ", 2)[2] for each in found if "no type of STIX" in each] == warnings


def test_an_example_whose_type_has_a_slip_is_warned_about():
    text = RULES + PEOPLE.replace("schema = 1\n", "")
    for type_, warnings in (
        ("identiy", ["p: test[1].object.type: 'identiy' is no type of STIX; did you mean 'identity'?"]),
        ("x-identiy", []),
    ):
        example = f'\n[[test]]\nobject = {{ type = "{type_}", tlp = "green", by = "bka" }}\nread = ["bka"]\n'
        found = [str(each) for each in parse({"p": text + example}).warnings]
        assert [each for each in found if "no type of STIX" in each] == warnings


# ---- several files


PEOPLE = 'schema = 1\n[groups]\nle = {}\n[audience.bka]\nkind = "le"\nclearance = "red"\ngroups = ["le"]\n'
RULES = 'schema = 1\nname = "p"\n[defaults]\nunmarked = "deny"\n[[permit]]\nid = "le"\nto = { group = "le" }\n'


@pytest.mark.parametrize(
    ("people", "rules", "problem"),
    [
        (PEOPLE, RULES.replace("schema = 1", "schema = 2"), "rules: schema: 2 found (this release reads schema 1)"),
        (
            PEOPLE.replace("schema = 1", "schema = true"),
            RULES,
            "people: schema: true found (this release reads schema 1)",
        ),
        ("", RULES.replace("schema = 1", ""), "rules: schema: missing (this release reads schema 1)"),
        ("", '[[release]]\nid = "r"\n', "people: schema: missing (this release reads schema 1)"),
    ],
)
def test_a_wrong_schema_names_the_file_that_has_it(people, rules, problem):
    with pytest.raises(ConfigError) as caught:
        parse({"people": people, "rules": rules})
    assert problem in [str(each) for each in caught.value.problems]


def test_sections_may_be_spread_over_files():
    policy = parse({"partners.toml": PEOPLE, "policy.toml": RULES})
    assert policy.name == "p"
    assert set(policy.audiences) == {"bka"}
    assert [rule.id for rule in policy.rules] == ["le"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[groups]\nle = {}\n", "b.toml: groups.le: given in two files, here and in partners.toml"),
        ('[audience.bka]\nkind = "le"\n', "b.toml: audience.bka: given in two files, here and in partners.toml"),
        ('[defaults]\nunmarked = "deny"\n', "b.toml: defaults.unmarked: given in two files, here and in policy.toml"),
        ('name = "q"\n', "b.toml: name: given in two files"),
    ],
)
def test_the_same_key_in_two_files_is_an_error(more, message):
    with pytest.raises(ConfigError) as caught:
        parse({"partners.toml": PEOPLE, "policy.toml": RULES, "b.toml": more})
    assert message in [str(problem) for problem in caught.value.problems]


def test_rules_of_several_files_add_up_and_ids_stay_unique():
    more = '[[forbid]]\nid = "red"\nwhat = { tlp = "red" }\n'
    assert len(parse({"a": PEOPLE, "b": RULES, "c": more}).rules) == 2
    with pytest.raises(ConfigError, match=r"c: permit\[1\]\.id: 'le' is the id of permit\[1\] in b already"):
        parse({"a": PEOPLE, "b": RULES, "c": '[[permit]]\nid = "le"\n'})


def test_every_problem_is_reported_at_once():
    text = 'schema = 2\nnam = "x"\n[audience.a]\nkind = 1\nclearance = "purple"\n[[permit]]\nto = { groop = "x" }\n'
    assert len(problems_of(text)) == 6


def test_every_file_that_is_not_toml_is_named():
    with pytest.raises(ConfigError) as caught:
        parse({"a": "x =", "b": RULES, "c": "[[["})
    assert [problem.file for problem in caught.value.problems] == ["a", "c"]


def test_no_file_at_all_is_an_error():
    with pytest.raises(ConfigError, match="no policy file"):
        parse({})


def test_the_digest_ignores_comments_and_spacing_but_no_value():
    digest = parse({"a": PEOPLE, "b": RULES}).digest
    assert parse({"b": RULES + "# a remark\n", "a": PEOPLE.replace(" = ", "=")}).digest == digest
    assert parse({"one": PEOPLE + RULES.replace("schema = 1\n", "").replace('name = "p"\n', "")}).digest != digest
    assert parse({"a": PEOPLE.replace('"red"', '"amber"'), "b": RULES}).digest != digest


def test_collections_are_checked_only_when_they_are_known():
    text = PEOPLE + '[collections.nowhere]\nunmarked = "deny"\n'
    assert parse({"p": text}).collections == {"nowhere": "deny"}
    assert problems_of(text, collections=("shared",)) == [
        "policy.toml: collections.nowhere: unknown collection (known: shared)"
    ]


def test_what_a_file_leaves_out_hides_more():
    defaults = parse({"p": PEOPLE}).defaults
    assert (defaults.unmarked, defaults.granular, defaults.versions) == ("deny", "hide", "newest-governs")
    assert (defaults.refs_required, defaults.refs_lists, defaults.label_tlp) == ("hide", "hide", True)


def test_groups_are_closed_under_within(make):
    assert make().audiences["de"].groups == {"eu", "le"}


def test_every_condition_key_has_help():
    for table in (schema.TO, schema.WHAT):
        assert all(key.help for key in table.values())
    assert all(schema.unless_keys().values())
