"""A user's script: what it may say, what it answers, and what is told when it is wrong."""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path
from typing import Any

import pytest

from millrace.scripting.event import Event
from millrace.scripting.properties import Properties
from millrace.scripting.script import TEMPLATE, ScriptError, TransformFailed, compiled


def script(text: str) -> Any:
    return compiled(textwrap.dedent(text))


def event(name: str = "orders", /, **properties: Any) -> Event:
    return Event.received(name, Properties(properties), primary_keys=["id"])


def ran(text: str, given: Event | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The events that come out, by name and properties."""
    result = script(text)(given or event(id=1))
    return [(one.getEventName(), dict(one.getProperties())) for one in result.events]


def failure(text: str, given: Event | None = None) -> TransformFailed:
    with pytest.raises(TransformFailed) as caught:
        script(text)(given or event(id=1))
    return caught.value


# The typical uses (transformations.md 2.7), by their number.

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
USES: dict[str, tuple[str, Event, list[tuple[str, dict[str, Any]]]]] = {
    "1 drop by name": (
        "def transform(event):\n    if event.getEventName() == 'activity': return None\n    return event",
        event("activity", id=1),
        [],
    ),
    "1 let others pass": (
        "def transform(event):\n    if event.getEventName() == 'activity': return None\n    return event",
        event(id=1),
        [("orders", {"id": 1})],
    ),
    "2 drop by value": (
        "def transform(event):\n    p = event.getProperties()\n"
        "    return None if p['status'] != 'confirmed' else event",
        event(id=1, status="new"),
        [],
    ),
    "2 let other values pass": (
        "def transform(event):\n    p = event.getProperties()\n"
        "    return None if p['status'] != 'confirmed' else event",
        event(id=1, status="confirmed"),
        [("orders", {"id": 1, "status": "confirmed"})],
    ),
    "3 add a field": (
        "def transform(event):\n    p = event.getProperties()\n    p['foo'] = 'bar'\n"
        "    p['username'] = p['email'].split('@')[0]\n    return event",
        event(email="ann@x.org"),
        [("orders", {"email": "ann@x.org", "foo": "bar", "username": "ann"})],
    ),
    "4 split into two types": (
        "from io.hevo.api import Event\ndef transform(event):\n    p = event.getProperties()\n"
        "    return [Event('subject', p), Event('marks', p)]",
        event(id=1),
        [("subject", {"id": 1}), ("marks", {"id": 1})],
    ),
    "5 keep and derive": (
        "from millrace.api import Event\ndef transform(event):\n"
        "    return [event, Event('order_events', {'order': event.getProperties()['id']})]",
        event(id=7),
        [("orders", {"id": 7}), ("order_events", {"order": 7})],
    ),
    "6 rename keys while looping": (
        "import re\ndef transform(event):\n    p = event.getProperties()\n    for key in p.keys():\n"
        "        snake = re.sub('([A-Z])', r'_\\\\1', key).lower()\n        p[snake] = p.pop(key)\n    return event",
        event(firstName="Ann", lastName="Lee"),
        [("orders", {"first_name": "Ann", "last_name": "Lee"})],
    ),
    "7 parse and flatten": (
        "import json\nfrom io.hevo.api import Utils\ndef transform(event):\n    p = event.getProperties()\n"
        "    p['a'] = Utils.jsonStringToDict(p['a'])\n    p['b'] = json.loads(p['b'])\n"
        "    event.setProperties(Utils.flattenJson(p))\n    return event",
        event(a='{"x": {"y": 1}}', b="[1, 2]"),
        [("orders", {"a_x_y": 1, "b": [1, 2]})],
    ),
    "8 unnest an array": (
        "from io.hevo.api import Event\ndef transform(event):\n    p = event.getProperties()\n    out = [event]\n"
        "    for index, item in enumerate(p.pop('items')):\n"
        "        out.append(Event(event.getEventName() + '_items', {'ref_id': p['id'], 'index': index, 'sku': item}))\n"
        "    return out",
        event(id=1, items=["a", "b"]),
        [
            ("orders", {"id": 1}),
            ("orders_items", {"ref_id": 1, "index": 0, "sku": "a"}),
            ("orders_items", {"ref_id": 1, "index": 1, "sku": "b"}),
        ],
    ),
    "9 mask": (
        "import base64\ndef transform(event):\n    p = event.getProperties()\n"
        "    p['mail'] = base64.b64encode(str(p['mail']).encode()).decode()\n    return event",
        event(mail="ann@x.org"),
        [("orders", {"mail": base64.b64encode(b"ann@x.org").decode()})],
    ),
    "10 enrich": (
        "from io.hevo.api import TimeUtils, Utils\nfrom ua_parser import user_agent_parser\n"
        "def transform(event):\n    p = event.getProperties()\n    if p['eur'] <= 0: return None\n"
        "    seen = user_agent_parser.Parse(p.pop('agent'))\n"
        "    p['browser'], p['os'] = seen['user_agent']['family'], seen['os']['family']\n"
        "    for path, value in Utils.flattenJson({'buyer': p.pop('buyer')}).items():\n        p[path] = value\n"
        "    p['local'] = TimeUtils.convertEpochToFormat(p['at'], 'yyyy-MM-dd HH:mm', 'Asia/Kolkata')\n"
        "    p['usd'] = round(p['eur'] * 1.1, 2)\n    return event",
        event(at=1767225600, eur=10, agent=BROWSER, buyer={"name": "Ann", "home": {"city": "Pune"}}),
        [
            (
                "orders",
                {
                    "at": 1767225600,
                    "eur": 10,
                    "browser": "Chrome",
                    "os": "Linux",
                    "buyer_name": "Ann",
                    "buyer_home_city": "Pune",
                    "local": "2026-01-01 05:30",
                    "usd": 11.0,
                },
            )
        ],
    ),
}


@pytest.mark.parametrize("name", USES)
def test_typical_scripts_do_what_they_say(name: str):
    text, given, expected = USES[name]
    fresh = Event.received(given.getEventName(), Properties(given.getProperties()), primary_keys=["id"])
    assert ran(text.replace("\\\\1", "\\1"), fresh) == expected


def test_the_template_lets_events_pass():
    assert ran(TEMPLATE) == [("orders", {"id": 1})]


def test_the_script_of_the_guide_does_what_the_guide_says():
    guide = Path(__file__).parents[2] / "docs/guides/transformations-python.md"
    text = guide.read_text().partition("```python\n")[2].partition("```")[0]
    given = {"id": 1, "created": 1767225600, "lines": [{"sku": "a"}]}
    assert ran(text, Event.received("orders", given, primary_keys=["id"])) == [
        ("orders", {"id": 1, "created": 1767225600, "day": "2026-01-01"}),
        ("order_lines", {"order_id": 1, "line": 0, "sku": "a"}),
    ]
    assert ran(text, event(id=1, status="test")) == []


def test_scripts_of_python_2_find_their_names():
    text = """
    def transform(event):
        p = event.getProperties()
        p['u'] = unicode('x') + str(long(3)) + str(isinstance('a', basestring)) + str(list(xrange(2)))
        for key, value in p.iteritems():
            if p.has_key(key) and key == 'id':
                del p[key]
        return event
    """
    assert ran(text) == [("orders", {"u": "x3True[0, 1]"})]


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("def transform(event):\n    print event\n", 2, "print is a function"),
        ("def transform(event):\n    try: pass\n    except Exception, e: pass\n", 3, "except Error as e"),
        ("def transform(event)\n    return event\n", 1, "SyntaxError"),
        ("x = 1\n", None, "no function transform"),
        ("transform = 3\n", None, "no function transform"),
        ("def transform(): return None\n", 1, "one parameter"),
        ("def transform(a, b): return None\n", 1, "one parameter"),
        ("import os\ndef transform(event): return event\n", 1, "'os' cannot be imported"),
        ("import jsno\ndef transform(event): return event\n", 1, "did you mean json"),
        ("from . import x\ndef transform(event): return event\n", 1, "no modules beside it"),
        ("def transform(event): return event.__class__.__bases__\n", 1, "__bases__ cannot be used"),
        ("def transform(event): return getattr(event, '__globals__')\n", 1, "__globals__ cannot be used"),
        ("RATE = 1 / 0\ndef transform(event): return event\n", 1, "ZeroDivisionError"),
        ("open('/etc/passwd')\ndef transform(event): return event\n", 1, "name 'open' is not defined"),
        ("EVENT_TYPES = 'orders'\ndef transform(event): return event\n", None, "must be a list"),
        ("EVENT_TYPES = 3\ndef transform(event): return event\n", None, "must be a list"),
        ("raise SystemExit\ndef transform(event): return event\n", 1, "SystemExit"),
        ("def transform(event, *, rate): return event\n", 1, "one parameter"),
        ("\nasync def transform(event): return event\n", 2, "cannot be async"),
        ("\nasync def transform(event): yield event\n", 2, "cannot be async"),
        ("\ndef transform(event):\n    yield event\n", 2, "cannot yield"),
        ("def transform(event): return 1 <> 2\n", 1, "`!=`"),
        ("def transform(event): return `1`\n", 1, "repr(x)"),
        ("def transform(event): return 5L\n", 1, "write `5` in place of `5L`"),
        ("MODE = 0755\ndef transform(event): return event\n", 1, "write `0o755` in place of `0755`"),
        ("WORD = ur'a'\ndef transform(event): return event\n", 1, "in place of `ur"),
        ("def transform(event): return event.__class__\n", 1, "use type(x)"),
        ("x = '" + "a" * 300_000 + "'\ndef transform(event): return event\n", None, "256 KiB"),
    ],
)
def test_a_script_that_cannot_be_one_is_told_with_its_line(text: str, line: int | None, told: str):
    with pytest.raises(ScriptError) as caught:
        compiled(text)
    assert told in caught.value.message
    assert caught.value.line == line
    assert line is None or f"(line {line})" in caught.value.message


def test_a_parameter_with_a_default_is_no_second_one():
    assert ran("def transform(event, rate=2):\n    return event") == [("orders", {"id": 1})]


def test_what_is_only_odd_is_let_be():
    text = r"""
    import re
    DIGITS = re.compile('\d+')
    def transform(event, *, rate=2):
        event.getProperties()['__v__'] = DIGITS.match('12').group()
        return event
    if __name__ == '__main__':
        print('a test of my own')
    """
    assert ran(text) == [("orders", {"id": 1, "__v__": "12"})]


def test_the_annotations_of_a_script_are_its_own():
    text = """
    from dataclasses import dataclass
    @dataclass
    class Rate:
        name: str
        value: float = 2.0
    def transform(event):
        event.getProperties()['types'] = [str(kind) for kind in Rate.__annotations__.values()]
        return event
    """
    assert ran(text.replace("Rate.__annotations__", "getattr(Rate, '__anno' + 'tations__')")) == [
        ("orders", {"id": 1, "types": ["<class 'str'>", "<class 'float'>"]})
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def transform(event): raise SystemExit", "SystemExit (line 1)"),
        ("def transform(event): raise KeyboardInterrupt('no')", "KeyboardInterrupt: no (line 1)"),
        ("class E(BaseException): pass\ndef transform(event): raise E", "E (line 2)"),
        ("class E(Exception):\n    def __str__(self): raise E\ndef transform(event): raise E",
         "E: this error has no text (line 3)"),
        (r"def transform(event): raise ValueError('\ud800é')", r"ValueError: \ud800é (line 1)"),
        ("def transform(event): raise ValueError('x' * 10**6)", "ValueError: " + "x" * 2000 + "… (line 1)"),
    ],
)  # fmt: skip
def test_whatever_a_script_raises_is_a_failed_event(text: str, told: str):
    assert (failure(text).code, failure(text).message) == ("TRANSFORM_ERROR", told)


def test_a_deep_trace_is_told_from_both_ends():
    failed = failure("def transform(event): return transform(event)")
    assert failed.message == "RecursionError: maximum recursion depth exceeded (line 1)"
    assert failed.trace.count("\n") == 21
    assert " more\n" in failed.trace


def test_an_exception_says_its_line_and_the_users_frames_alone():
    failed = failure(
        """
        def share(p):
            return 1 / p['zero']

        def transform(event):
            return share({'zero': 0})
        """
    )
    assert (failed.code, failed.message, failed.line) == (
        "TRANSFORM_ERROR",
        "ZeroDivisionError: division by zero (line 3)",
        3,
    )
    assert failed.trace == "line 6, in transform\nline 3, in share\n"


def test_a_missing_field_is_told_by_its_name():
    assert failure("def transform(event): return event.getProperties()['nope']").message == (
        "KeyError: there is no key 'nope' (line 1)"
    )


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("3", "returned an int"),
        ("'x'", "returned a str"),
        ("event.getProperties()", "returned a Properties"),
        ("[event, 3]", "item 1 of the list that transform returned is an int"),
        ("[event, event]", "in it already"),
        ("[Event('x', {}) for _ in range(10001)]", "10,001 events"),
    ],
)
def test_an_answer_that_is_none_of_the_three_is_refused(answer: str, told: str):
    failed = failure(f"from millrace.api import Event\ndef transform(event):\n    return {answer}")
    assert (failed.code, told in failed.message) == ("TRANSFORM_RESULT", True)


def test_ten_thousand_children_are_not_too_many():
    text = "from millrace.api import Event\ndef transform(event): return [Event('x', {}) for _ in range(10000)]"
    assert len(script(text)(event()).events) == 10_000


def test_a_primary_key_must_be_there():
    failed = failure("def transform(event):\n    event.setPrimaryKeys(['nope'])\n    return event")
    assert (failed.code, "'nope' is a primary key of orders" in failed.message) == ("TRANSFORM_RESULT", True)


def test_two_events_of_one_dict_are_two():
    found = ran(
        """
        from millrace.api import Event
        def transform(event):
            p = event.getProperties()
            a, b = Event('a', p), Event('b', p)
            a.getProperties()['n'] = 1
            b.getProperties()['list'].append(2)
            return [a, b]
        """,
        event(list=[1]),
    )
    assert found == [("a", {"list": [1], "n": 1}), ("b", {"list": [1, 2]})]


def test_a_script_says_which_event_types_it_wants():
    assert script("EVENT_TYPES = ['a', 'b']\ndef transform(event): return event").event_types == {"a", "b"}
    assert script("def transform(event): return event").event_types is None


def test_what_a_script_prints_is_kept_up_to_a_hundred_lines():
    made = script("def transform(event):\n    for n in range(200): print('n', n)\n    return event")
    made(event())
    assert made.printed == [f"n {n}" for n in range(100)]
    half = script(r"def transform(event): print('\udfffé')")
    half(event())
    assert half.printed == [r"\udfffé"]


@pytest.mark.parametrize(
    "module",
    ["json", "re", "base64", "datetime", "urllib.parse", "xml.etree.ElementTree", "zlib", "uuid", "dateutil.parser",
     "pytz", "ua_parser", "decimal", "collections", "hashlib", "io", "zoneinfo"],
)  # fmt: skip
def test_allowed_modules_can_be_imported(module: str):
    assert ran(f"import {module}\ndef transform(event): return event")


@pytest.mark.parametrize(
    "module",
    [
        "sys",
        "subprocess",
        "socket",
        "threading",
        "ctypes",
        "importlib",
        "builtins",
        "urllib.request",
        "json.tool_",
        "io.open_code",
        "_io",
        "pickle",
    ],
)
def test_other_modules_cannot(module: str):
    with pytest.raises(ScriptError):
        compiled(f"import {module}\ndef transform(event): return event")


# Functions in C that import something in the name of whoever calls them.
@pytest.mark.parametrize(
    "asked",
    [
        "datetime.datetime.strptime('01.02.2024', '%d.%m.%Y').isoformat()",
        "time.strptime('2024', '%Y').tm_year",
        "'é'.encode('ascii', 'namereplace')",
        "'müller'.encode('idna')",
        "copy.deepcopy(collections.OrderedDict(a=1))",
        "datetime.datetime(2024, 1, 2).strftime('%A')",
        "format(decimal.Decimal('1234.5'), ',.2f')",
        "functools.reduce(lambda a, b: a + b, [1, 2])",
    ],
)
def test_functions_of_allowed_modules_work(asked: str):
    names = "collections, copy, datetime, decimal, functools, time"
    assert ran(f"import {names}\ndef transform(event):\n    event.getProperties()['x'] = {asked}\n    return event")


def test_io_has_streams_in_memory_and_nothing_else():
    assert ran("import io\nassert io.StringIO('x').read() == 'x'\ndef transform(event): return event")
    with pytest.raises(ScriptError):
        compiled("import io\nio.open('/etc/passwd')\ndef transform(event): return event")


def test_a_browser_is_told_from_its_user_agent():
    text = """
    from ua_parser import user_agent_parser
    def transform(event):
        p = event.getProperties()
        p['browser'] = user_agent_parser.ParseUserAgent(p['ua'])['family']
        return event
    """
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0"
    assert ran(text, event(ua=agent))[0][1]["browser"] == "Firefox"
