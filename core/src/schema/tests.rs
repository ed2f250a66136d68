//! Schema files that are wrong, each in its way, and what the fingerprint sees.

use super::{Schema, not_additions, shrinkage};

fn complaint(text: &str) -> String {
    Schema::parse(text).expect_err("the schema is bad").to_string()
}

fn one_column(column: &str) -> String {
    complaint(&format!("name = 'w'\nversion = 1\n[tables.t.columns]\nid = {{ type = 'integer' }}\n{column}\n"))
}

#[test]
fn unknown_type_names_line_table_and_column() {
    assert_eq!(
        one_column("temperature = { type = 'float' }"),
        "line 5, tables.t.columns.temperature: unknown type \"float\"; known: integer, real, text, boolean, timestamp, json, bytes, uuid"
    );
}

#[test]
fn hostile_names_are_refused_everywhere() {
    for hostile in ["x\\\"; drop table", "a b", "ä", "1a", "", "a-b", "a.b", "x'--"] {
        assert!(
            complaint(&format!("name = \"{hostile}\"\nversion = 1\n[tables.t.columns]\nid = {{ type = 'integer' }}"))
                .contains("is not an identifier"),
            "{hostile}"
        );
        assert!(
            complaint(&format!("name = 'w'\nversion = 1\n[tables.\"{hostile}\".columns]\nid = {{ type = 'integer' }}"))
                .contains("is not an identifier"),
            "{hostile}"
        );
        assert!(one_column(&format!("\"{hostile}\" = {{ type = 'text' }}")).contains("line 5"), "{hostile}");
    }
    assert!(one_column(&format!("{} = {{ type = 'text' }}", "x".repeat(64))).contains("64 bytes"));
}

#[test]
fn reserved_names_are_refused() {
    for name in ["station", "rowid", "XMIN", "tidemark_x"] {
        assert!(one_column(&format!("{name} = {{ type = 'text' }}")).contains("reserved"), "{name}");
    }
    for name in ["tidemark_log", "sqlite_master", "pg_class"] {
        assert!(
            complaint(&format!("name = 'w'\nversion = 1\n[tables.{name}.columns]\nid = {{ type = 'integer' }}"))
                .contains("reserved"),
            "{name}"
        );
    }
    assert!(
        complaint("name = 'public'\nversion = 1\n[tables.t.columns]\nid = { type = 'integer' }").contains("reserved")
    );
}

#[test]
fn duplicates_are_refused_also_when_only_case_differs() {
    assert!(
        one_column("a = { type = 'text' }\nA = { type = 'text' }")
            .contains("line 6, tables.t.columns.A: the name \"A\" is a duplicate: line 5")
    );
    assert!(one_column("a = { type = 'text' }\na = { type = 'text' }").contains("line 6: not valid TOML"));
    assert!(
        complaint(
            "name='w'\nversion=1\n[tables.t.columns]\nid={type='integer'}\n[tables.T.columns]\nid={type='integer'}"
        )
        .contains("line 5, tables.T: the name \"T\" is a duplicate")
    );
}

#[test]
fn a_dangling_reference_and_a_reference_of_another_type_are_refused() {
    assert!(
        one_column("site_id = { type = 'integer', references = 'sight' }")
            .contains("line 5, tables.t.columns.site_id: references \"sight\", which is no table")
    );
    assert!(
        one_column("up = { type = 'uuid', references = 't' }")
            .contains("is of type uuid, but the key of \"t\" is integer")
    );
}

#[test]
fn a_circle_of_references_is_refused_but_a_self_reference_is_not() {
    let text = "name='w'\nversion=1\n[tables.a.columns]\nid={type='integer'}\nb={type='integer',references='b'}\n[tables.b.columns]\nid={type='integer'}\na={type='integer',references='a'}";
    assert!(complaint(text).contains("go round in a circle among a, b"));
    assert!(
        Schema::parse(
            "name='w'\nversion=1\n[tables.a.columns]\nid={type='integer'}\nup={type='integer',references='a'}"
        )
        .is_ok()
    );
}

#[test]
fn two_keys_are_refused() {
    let text = "name='w'\nversion=1\n[tables.t]\nkey=['a','b']\n[tables.t.columns]\nid={type='integer'}\na={type='integer'}\nb={type='integer'}";
    assert_eq!(
        complaint(text),
        "line 4, tables.t.key: the key has 2 columns; a key is one column, an integer or a uuid"
    );
    let text =
        "name='w'\nversion=1\n[tables.t]\nkey='a'\nkey='b'\n[tables.t.columns]\na={type='integer'}\nb={type='integer'}";
    assert!(complaint(text).starts_with("line 5: not valid TOML: duplicate key"), "{}", complaint(text));
}

#[test]
fn keys_and_times_have_the_right_type() {
    assert!(
        complaint("name='w'\nversion=1\n[tables.t.columns]\nid={type='text'}").contains("keys are integer or uuid")
    );
    assert!(
        complaint("name='w'\nversion=1\n[tables.t.columns]\nno={type='integer'}")
            .contains("the key column \"id\" does not exist")
    );
    assert!(
        complaint("name='w'\nversion=1\n[tables.t]\ntime='id'\n[tables.t.columns]\nid={type='integer'}")
            .contains("it must be a timestamp")
    );
    assert!(
        complaint("name='w'\nversion=1\n[tables.t]\nchunk='7 days'\n[tables.t.columns]\nid={type='integer'}")
            .contains("it needs `time`")
    );
    assert!(complaint("name='w'\nversion=1\n[tables.t]\ntime='at'\nchunk='7 moons'\n[tables.t.columns]\nid={type='integer'}\nat={type='timestamp'}").contains("no chunk width"));
}

#[test]
fn bounds_and_defaults_fit_their_type() {
    assert!(one_column("a = { type = 'text', min = 1 }").contains("`min` is for integer and real"));
    assert!(one_column("a = { type = 'real', min = 2, max = 1 }").contains("above"));
    assert!(one_column("a = { type = 'real', min = nan }").contains("finite"));
    assert!(one_column("a = { type = 'integer', default = 'x' }").contains("expected a 64-bit integer"));
    assert!(one_column("a = { type = 'timestamp', default = 'later' }").contains("only \"now\""));
    assert!(one_column("a = { type = 'json', default = '{}' }").contains("can have no default"));
    assert!(one_column("a = { type = 'text', max_bytes = 0 }").contains("between 1 and"));
    assert!(one_column("a = { typ = 'text' }").contains("`type` is missing"));
    assert!(one_column("a = { type = 'text', requird = true }").contains("unknown key \"requird\""));
    assert!(one_column("a = 'text'").contains("expected a table"));
}

#[test]
fn every_problem_is_reported_in_one_run() {
    let text = "name = 'pg_x'\nversion = 0\n[tables.t.columns]\nid = { type = 'integer' }\na = { type = 'float' }\nb = { type = 'integer', references = 'x' }";
    let error = Schema::parse(text).unwrap_err();
    let lines: Vec<usize> = error.issues.iter().map(|issue| issue.line).collect();
    assert_eq!(lines, [1, 2, 5, 6]);
}

#[test]
fn missing_parts_are_named() {
    assert!(complaint("").contains("`name` is missing"));
    assert!(complaint("name='w'\nversion=1\n[tables.t]").contains("the table has no columns"));
}

#[test]
fn the_fingerprint_sees_meaning_and_not_documentation() {
    let schema = |column: &str| {
        Schema::parse(&format!("name='w'\nversion=1\n[tables.t.columns]\nid={{type='integer'}}\na={column}"))
            .unwrap()
            .fingerprint()
    };
    let plain = schema("{type='real'}");
    assert_eq!(plain, schema("{type='real', unit='°C', doc='words'}"));
    for other in
        ["{type='integer'}", "{type='real', required=true}", "{type='real', min=0}", "{type='real', default=0}"]
    {
        assert_ne!(plain, schema(other), "{other}");
    }
}

fn with_append(append: &str, rest: &str) -> String {
    format!("name='w'\nversion=1\n[tables.t]\n{append}\n[tables.t.columns]\nid={{type='integer'}}\n{rest}")
}

#[test]
fn an_append_table_has_an_integer_key_and_no_references_to_it() {
    let parsed = Schema::parse(&with_append(
        "append = true",
        "a={type='integer', references='up'}\n[tables.up.columns]\nid={type='integer'}",
    ));
    assert!(parsed.unwrap().tables()[0].append, "it may reference others");
    assert_eq!(
        complaint(&with_append("append = 'yes'", "")),
        "line 4, tables.t.append: expected true or false, found string"
    );
    let uuid = complaint("name='w'\nversion=1\n[tables.t]\nkey='u'\nappend=true\n[tables.t.columns]\nu={type='uuid'}");
    assert!(uuid.starts_with("line 5, tables.t: the key of an append table is an integer"), "{uuid}");
    for child in [
        "a={type='integer', references='t'}",
        "[tables.c.columns]\nid={type='integer'}\na={type='integer', references='t'}",
    ] {
        let refused = complaint(&with_append("append = true", child));
        assert!(refused.contains("references \"t\", which is an append table"), "{refused}");
    }
}

#[test]
fn the_fingerprint_sees_append_and_says_nothing_where_there_is_none() {
    let fingerprint = |append: &str| Schema::parse(&with_append(append, "")).unwrap().fingerprint();
    assert_eq!(fingerprint(""), fingerprint("append = false"));
    assert_ne!(fingerprint(""), fingerprint("append = true"));
}

#[test]
fn a_table_neither_becomes_an_append_table_nor_ceases_to_be_one() {
    let schema = |append: &str| Schema::parse(&with_append(append, "")).unwrap();
    let (plain, append) = (schema(""), schema("append = true"));
    assert_eq!(not_additions(&append, &append), Vec::<String>::new());
    assert_eq!(
        not_additions(&plain, &append),
        ["table t was not an append table and now is: declare one under another name"]
    );
    assert_eq!(
        not_additions(&append, &plain),
        ["table t was an append table and now is not: declare one under another name"]
    );
}

#[test]
fn the_shipped_schema_is_the_18_tables() {
    let schema = shrinkage();
    let hypertables: Vec<&str> = schema.tables().iter().filter(|t| t.time.is_some()).map(|t| t.name.as_str()).collect();
    assert_eq!(hypertables, ["calculation_data", "coefficients", "forecasts", "preliminary_forecasts", "data_lineage"]);
    assert_eq!(schema.tables().len(), 18);
    assert_eq!(schema.table("calculation_data").unwrap().columns.len(), 26);
    assert_eq!(schema.tables().iter().map(|t| t.columns.len()).sum::<usize>(), 180);
}
