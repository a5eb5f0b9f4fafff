//! Templates that must be refused, and soon.

use std::time::{Duration, Instant};

use super::tests::rendered;

/// Every one of these must be refused, and soon.
fn hostile() -> Vec<(&'static str, String)> {
    let many = |text: &str, n: usize| text.repeat(n);
    let loop_over = |body: &str| format!("{{% for i in range(99999) %}}{body}{{% endfor %}}");
    let ns = |init: &str, body: &str| {
        format!(
            "{{% set ns = namespace(x={init}) %}}{}{{{{ ns.x }}}}",
            loop_over(body)
        )
    };
    let mut list: Vec<(&'static str, String)> = Vec::new();
    let mut add = |name, source: String| list.push((name, source));
    add("range", "{{ range(10**9)|list }}".into());
    add(
        "range loop",
        "{% for i in range(10**9) %}{% endfor %}".into(),
    );
    add("nested loops", loop_over(&loop_over(&loop_over("x"))));
    add(
        "macro recursion",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}".into(),
    );
    add(
        "growing macro recursion",
        format!(
            "{{% macro f(x) %}}{{{{ f({}x{}) }}}}{{% endmacro %}}{{{{ f(1) }}}}",
            many("[", 100),
            many("]", 100)
        ),
    );
    add("two macros", "{% macro f() %}{{ g() }}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}".into());
    add(
        "recursive loop",
        "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}".into(),
    );
    add(
        "recursive loop, wide",
        "{% for x in range(9) recursive %}{{ loop(range(9)) }}{% endfor %}".into(),
    );
    add("call recursion", "{% macro f() %}{{ caller() }}{% call f() %}{{ f() }}{% endcall %}{% endmacro %}{% call f() %}x{% endcall %}".into());
    add(
        "parentheses",
        format!("{{{{ {}1{} }}}}", many("(", 10_000), many(")", 10_000)),
    );
    add(
        "lists",
        format!("{{{{ {}1{} }}}}", many("[", 10_000), many("]", 10_000)),
    );
    add(
        "ifs",
        format!(
            "{}{}",
            many("{% if x %}", 10_000),
            many("{% endif %}", 10_000)
        ),
    );
    add(
        "elifs",
        format!("{{% if x %}}{}{{% endif %}}", many("{% elif x %}", 40_000)),
    );
    add(
        "fors",
        format!(
            "{}{}",
            many("{% for x in [1] %}", 10_000),
            many("{% endfor %}", 10_000)
        ),
    );
    add("sums", format!("{{{{ x{} }}}}", many("+x", 200_000)));
    add("attributes", format!("{{{{ x{} }}}}", many(".a", 200_000)));
    add("filters", format!("{{{{ x{} }}}}", many("|e", 200_000)));
    add("nots", format!("{{{{ {}x }}}}", many("not ", 100_000)));
    add("minuses", format!("{{{{ {}x }}}}", many("-", 200_000)));
    add("powers", format!("{{{{ 1{} }}}}", many("**1", 100_000)));
    add(
        "conditionals",
        format!("{{{{ 1{} }}}}", many(" if 1 else 1", 40_000)),
    );
    add(
        "attribute walk",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}".into(),
    );
    add(
        "attribute walk on messages",
        "{{ messages.__init__.__globals__['os'].popen('id') }}".into(),
    );
    add(
        "attribute filter walk",
        "{{ ''|attr('__class__')|attr('__mro__')|first }}{{ cycler.__init__.__globals__ }}".into(),
    );
    add("string multiplication", "{{ 'a' * 10**9 }}".into());
    add(
        "string multiplication, kept",
        "{% set x = 'a' * 90000000 %}".into(),
    );
    add("list multiplication", "{% set x = [0] * 10**9 %}".into());
    add("doubling", ns("'aaaaaaaa'", "{% set ns.x = ns.x ~ ns.x %}"));
    add(
        "doubling with plus",
        ns("'aaaaaaaa'", "{% set ns.x = ns.x + ns.x %}"),
    );
    add("doubling lists", ns("[1]", "{% set ns.x = ns.x + ns.x %}"));
    add(
        "doubling a tree",
        ns("[1]", "{% set ns.x = [ns.x, ns.x] %}"),
    );
    add(
        "doubling by join",
        ns("'aaaaaaaa'", "{% set ns.x = [ns.x, ns.x]|join %}"),
    );
    add(
        "doubling by format",
        ns("'aaaaaaaa'", "{% set ns.x = '%s%s'|format(ns.x, ns.x) %}"),
    );
    add(
        "doubling by block",
        ns(
            "'aaaaaaaa'",
            "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}",
        ),
    );
    add("nesting", ns("[]", "{% set ns.x = [ns.x] %}"));
    add("nesting maps", ns("[]", "{% set ns.x = {'a': ns.x} %}"));
    add("nesting tuples", ns("[]", "{% set ns.x = (ns.x,) %}"));
    add(
        "nesting map keys",
        ns("[]", "{% set ns.x = {(ns.x,): 1} %}"),
    );
    add(
        "nesting by batch",
        ns("[1]", "{% set ns.x = ns.x|batch(1)|list %}"),
    );
    add(
        "nesting by block filter",
        ns("[1]", "{% set ns.x | default([ns.x], true) %}{% endset %}"),
    );
    add(
        "nesting at the top",
        format!("{}{{{{ x }}}}", many("{% set x = [x] %}", 8000)),
    );
    add(
        "nesting at the top, deeper",
        format!(
            "{}{{{{ x }}}}",
            many(
                &format!("{{% set x = {}x{} %}}", many("[", 100), many("]", 100)),
                2000
            )
        ),
    );
    add(
        "nesting in with",
        format!(
            "{}{{{{ x|tojson }}}}{}",
            many(
                &format!("{{% with x = {}x{} %}}", many("[", 40), many("]", 40)),
                100
            ),
            many("{% endwith %}", 100)
        ),
    );
    add(
        "nesting by batches in with",
        format!(
            "{}{{{{ x }}}}{}",
            many(
                &format!("{{% with x = (x or [1]){} %}}", many("|batch(1)|list", 200)),
                100
            ),
            many("{% endwith %}", 100)
        ),
    );
    add(
        "namespace in itself",
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".into(),
    );
    add(
        "namespace in itself, alias",
        "{% set ns = namespace() %}{% set m = ns %}{% set ns.a = [{'b': m}] %}{{ ns|tojson }}"
            .into(),
    );
    add(
        "namespace in another",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a == b }}".into(),
    );
    add(
        "namespace by loop target",
        "{% set a = namespace() %}{% for a.b in [a] %}{% endfor %}{{ a }}".into(),
    );
    add(
        "namespace by tuple",
        "{% set a = namespace() %}{% set a.b, c = a, 1 %}{{ a }}".into(),
    );
    add(
        "macro chain",
        ns(
            "0",
            "{% set g = ns.x %}{% macro m() %}{{ g }}{% endmacro %}{% set ns.x = m %}",
        ),
    );
    add(
        "replace bomb",
        "{% set x = 'a' * 1000000 %}{{ x.replace('a', x) }}".into(),
    );
    add(
        "replace filter bomb",
        "{% set x = 'a' * 1000000 %}{{ x|replace('a', x) }}".into(),
    );
    add(
        "replace of nothing",
        "{% set x = 'a' * 1000000 %}{{ x.replace('', x) }}".into(),
    );
    add(
        "join bomb",
        "{% set x = 'a' * 1000000 %}{{ x.join(x) }}".into(),
    );
    add(
        "join filter bomb",
        "{% set x = 'a' * 1000000 %}{{ x|join(x) }}".into(),
    );
    add(
        "strip bomb",
        format!(
            "{{% set x = 'a' * 1000000 %}}{{% set y = '{}' %}}{{{{ x.strip(y) }}}}",
            many("b", 1000)
        ),
    );
    add(
        "trim bomb",
        format!(
            "{{% set x = 'a' * 1000000 %}}{{% set y = ('b' * 1000000) ~ 'a' %}}{}",
            loop_over("{% set z = x|trim(y) %}")
        ),
    );
    add("format width", "{{ '%1000000000d'|format(1) }}".into());
    add(
        "format star width",
        "{{ '%*d'|format(1000000000, 1) }}".into(),
    );
    add(
        "format precision",
        "{{ '%.1000000000f'|format(1.0) }}".into(),
    );
    add("str.format width", "{{ '{:1000000000}'.format(1) }}".into());
    add(
        "str.format precision",
        "{{ '{:.1000000000f}'.format(1.5) }}".into(),
    );
    add(
        "str.format repetition",
        "{% set x = 'a' * 1000000 %}{{ ('{0}' * 100000).format(x) }}".into(),
    );
    add(
        "printf repetition",
        "{% set x = 'a' * 1000000 %}{{ ('%(a)s' * 100000)|format(a=x) }}".into(),
    );
    add(
        "str.format nested width",
        "{{ '{:{}}'.format(1, 1000000000) }}".into(),
    );
    add("indent", "{{ ('a\n' * 100000)|indent(1000000) }}".into());
    add(
        "json indent",
        "{{ [[1]]|tojson(indent=1000000000) }}".into(),
    );
    add(
        "json indent text",
        "{% set x = ' ' * 1000000 %}{{ ([[1]] * 1000)|tojson(indent=x) }}".into(),
    );
    add(
        "json separators",
        "{% set x = ' ' * 1000000 %}{{ ([1] * 10000)|tojson(separators=(x, x)) }}".into(),
    );
    add("batch", "{{ [1]|batch(10**9, 0)|list }}".into());
    add("slice", "{{ [1]|slice(10**9, 0)|list }}".into());
    add("power", "{{ 10 ** 10 ** 10 }}".into());
    // A tree of 8^10 items in ten lists of eight.
    let grown = many("{% with t = [t, t, t, t, t, t, t, t] %}", 10);
    let shrunk = many("{% endwith %}", 10);
    let in_rows = "{% set r = [0, 1, 2] * 1000 %}";
    add("multiplied lists", in_rows.into());
    for (name, tag) in [
        ("wide tree printed", "{{ t }}"),
        ("wide tree as json", "{{ t|tojson }}"),
        ("wide tree as string", "{{ t|string }}"),
        ("wide tree joined", "{{ t|join }}"),
        ("wide tree upper", "{{ t|upper }}"),
        ("wide tree replaced", "{{ t|replace('0', '') }}"),
        ("wide tree as replacement", "{{ 'a'|replace('a', t) }}"),
        ("wide tree as joiner", "{{ [1, 2]|join(t) }}"),
        ("wide tree trimmed", "{{ t|trim }}"),
        ("wide tree indented", "{{ t|indent }}"),
        ("wide tree split", "{{ t|split }}"),
        ("wide tree lines", "{{ t|lines }}"),
        ("wide tree titled", "{{ t|title }}"),
        ("wide tree escaped", "{{ t|escape }}"),
        ("wide tree safe", "{{ t|safe }}"),
        ("wide tree to int", "{{ t|int }}"),
        ("wide tree sorted", "{{ [t, t]|sort }}"),
        ("wide tree unique", "{{ [t, t]|unique|list }}"),
        ("wide tree grouped", "{{ [t, t]|groupby('a') }}"),
        ("wide tree mapped", "{{ [t]|map('upper')|list }}"),
        ("wide tree selected", "{{ [t]|select('eq', [t])|list }}"),
        ("wide tree summed", "{{ t|sum(start=[]) }}"),
        ("wide tree concatenated", "{{ t ~ '' }}"),
        ("wide tree on the right", "{{ 'x' ~ [t] }}"),
        ("wide tree compared", "{{ t == [t] }}"),
        ("wide tree in a sum", "{{ [] + t == t + [] }}"),
        (
            "wide tree in a condition",
            "{{ (t if 1 else 2) == (t[:] if 1 else 2) }}",
        ),
        ("wide tree unequal", "{{ t != t[0:] }}"),
        ("wide tree ordered", "{{ [t] < [t[:]] }}"),
        ("wide tree searched", "{{ t in [[t[:]]] }}"),
        ("wide tree not found", "{{ t not in [[t[:]]] }}"),
        ("wide tree equal", "{{ t is eq [t[:]] }}"),
        ("wide tree test", "{{ t is in([t[:]]) }}"),
        ("wide tree of another", "{{ t is not sameas t[:] }}"),
        ("wide tree in a string", "{{ t in 'x' }}"),
        ("wide tree formatted", "{{ '%s'|format(t) }}"),
        ("wide tree in a format", "{{ '{}'.format(t) }}"),
        ("wide tree as a key", "{{ {t: 1} }}"),
        (
            "wide tree as a named key",
            "{{ {'a': 1, t if 1 else 2: 1}|length }}",
        ),
        ("wide tree as a subscript", "{{ {}[t] }}"),
        ("wide tree got", "{{ {}.get(t) }}"),
        ("wide tree as attribute", "{{ {}|attr(t) }}"),
        ("wide tree in join", "{{ ''.join(t) }}"),
        ("wide tree in an error", "{{ t + 1 }}"),
        ("wide tree divided", "{{ t / 1 }}"),
        ("wide tree negated", "{{ -t }}"),
        ("wide tree called", "{{ t.foo() }}"),
        ("wide tree counted", "{{ [t].count(t[:]) }}"),
        ("wide tree raised", "{{ raise_exception(t) }}"),
        ("wide tree kept", "{% set x = t %}"),
        ("wide tree in a namespace", "{% set ns = namespace(x=t) %}"),
        (
            "wide tree changed",
            "{% for i in [1, 2] %}{{ loop.changed([t]) }}{% endfor %}",
        ),
        (
            "wide tree filtered",
            "{% for i in t if i == t %}{% endfor %}",
        ),
        (
            "wide tree in a macro",
            "{% macro m(a) %}{{ a ~ '' }}{% endmacro %}{{ m(t) }}",
        ),
        (
            "wide tree as default",
            "{% macro m(a=t) %}{{ a ~ '' }}{% endmacro %}{{ m() }}",
        ),
        ("wide tree unpacked", "{{ '%s'|format(*t) }}"),
        ("wide tree in a dict", "{{ dict(a=t) ~ '' }}"),
        ("wide tree as range", "{{ range(t) }}"),
        ("wide tree as date", "{{ strftime_now(t) }}"),
        (
            "wide tree as a block",
            "{% filter replace('a', t) %}a{% endfilter %}",
        ),
    ] {
        add(
            name,
            format!("{grown}{tag}{shrunk}{{{{ raise_exception('x') }}}}"),
        );
    }
    add(
        "lazy slices",
        ns("[1, 2]", "{% set ns.x = ns.x[0:] %}") + "{{ raise_exception('x') }}",
    );
    add(
        "lazy slices inside",
        ns("[[1, 2]]", "{% set ns.x = [ns.x[0][0:]] %}") + "{{ raise_exception('x') }}",
    );
    add(
        "lazy reverses",
        ns("[1, 2]", "{% set ns.x = ns.x|reverse %}") + "{{ raise_exception('x') }}",
    );
    add(
        "lazy maps",
        ns("{'a': 1}", "{% set ns.x = ns.x.keys() %}") + "{{ raise_exception('x') }}",
    );
    add(
        "growing list",
        ns("[1]", "{% set ns.x = ns.x + [i] %}") + "{{ raise_exception('x') }}",
    );
    add("include itself", "{% include 'chat_template' %}".into());
    add("extend itself", "{% extends 'chat_template' %}".into());
    add("import itself", "{% import 'chat_template' as x %}".into());
    add("from itself", "{% from 'chat_template' import x %}".into());
    add(
        "self block",
        "{% block a %}{{ self.a() }}{% endblock %}".into(),
    );
    add("debug", "{{ debug() }}".into());
    add(
        "output",
        loop_over(
            "{{ messages }}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
    );
    add("strftime", "{{ strftime_now('%c' * 10000000) }}".into());
    add("unclosed", "{% if x".into());
    add("unclosed string", "{{ 'x".into());
    add("unclosed comment", "{# ".into());
    add("long source", many(" ", 10 << 20));
    add("lone escape", "{{ '\\ud800\\u' }}".into());
    list
}

#[test]
fn hostile_templates_end_in_an_error_soon() {
    for (name, source) in hostile() {
        let timed = || {
            let start = Instant::now();
            let result = rendered(&source);
            assert!(result.is_err(), "{name} rendered");
            start.elapsed()
        };
        // The least of a few tries: a busy machine delays, it never hastens.
        let soon = |took: &Duration| *took < Duration::from_secs(1);
        let took: Vec<Duration> = (0..5).map(|_| timed()).take_while(|t| !soon(t)).collect();
        assert!(took.len() < 5, "{name} took {took:?}");
    }
}
