//! The SQL derived from a schema, to the letter. The files beside this one are what a reader checks; a change of them
//! is a change of every user's database.

use tidemark_core::capture::{Form, create_log, create_ousted, create_triggers, create_triggers_of};
use tidemark_core::postgres::{self, TimePartitioning};
use tidemark_core::sqlite;

#[track_caller]
fn same_as_file(name: &str, statements: &[String]) {
    let sql: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
    let path = format!("{}/tests/derived/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("TIDEMARK_WRITE_GOLDEN").is_some() {
        std::fs::write(&path, &sql).unwrap();
    }
    let expected = std::fs::read_to_string(&path).expect("the file is there");
    assert!(sql == expected, "{name}.sql differs from what is derived now:\n{sql}");
}

#[test]
fn a_stations_tables_log_and_triggers() {
    let schema = crate::common::schema();
    let mut statements = vec![create_log(&schema), create_ousted(&schema)];
    statements.extend(schema.tables().iter().map(|table| sqlite::create_table(&schema, table)));
    statements.extend(schema.tables().iter().flat_map(|table| create_triggers(table, &[], &[])));
    same_as_file("station", &statements);
}

#[test]
fn triggers_of_a_table_with_unique_columns() {
    let schema = crate::common::schema();
    let unique = [vec!["name".to_owned()], vec!["id".to_owned(), "name".to_owned()]];
    same_as_file("unique", &create_triggers(schema.table("site").unwrap(), &unique, &[]));
}

#[test]
fn triggers_in_their_first_form() {
    let schema = crate::common::schema();
    let triggers = schema.tables().iter().flat_map(|table| create_triggers_of(Form::First, table, &[], &[]));
    same_as_file("first", &triggers.collect::<Vec<_>>());
    let unique = [vec!["name".to_owned()], vec!["id".to_owned(), "name".to_owned()]];
    same_as_file("first_unique", &create_triggers_of(Form::First, schema.table("site").unwrap(), &unique, &[]));
}

#[test]
fn the_embedded_upstreams_tables() {
    let schema = crate::common::schema();
    let statements = schema.tables().iter().flat_map(|table| {
        std::iter::once(sqlite::create_upstream_table(table)).chain(sqlite::create_upstream_indexes(&schema, table))
    });
    same_as_file("embedded", &statements.collect::<Vec<_>>());
}

#[test]
fn postgresqls_tables_and_hypertables() {
    let schema = crate::common::schema();
    same_as_file("postgres", &postgres::create_all(&schema, TimePartitioning::Hypertable));
    let plain = postgres::create_all(&schema, TimePartitioning::Plain);
    assert!(plain.iter().all(|statement| !statement.contains("hypertable")));
}

#[test]
fn every_reference_between_ordinary_tables_is_a_foreign_key_and_no_other() {
    let schema = tidemark_core::schema::shrinkage();
    let keys: Vec<String> = schema
        .tables()
        .iter()
        .flat_map(|table| {
            postgres::foreign_keys(&schema, table)
                .map(|(column, parent)| format!("{}.{} {}", table.name, column.name, parent.name))
        })
        .collect();
    assert_eq!(
        keys,
        [
            "analytics.nomenclature_id nomenclature",
            "analytics.model_id models",
            "surplus_specifications.nomenclature_id nomenclature",
            "surplus_recommendations.nomenclature_id nomenclature",
            "surplus_patterns.nomenclature_id nomenclature",
            "surplus_patterns.created_from_recommendation_id surplus_recommendations",
            "pattern_validations.surplus_pattern_id surplus_patterns",
        ]
    );
}

#[test]
fn long_derived_names_stay_within_postgresqls_limit_and_apart() {
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    let long = postgres::derived_name(&a, &b, "fkey");
    assert_eq!(long.len(), 63);
    assert!(long.ends_with("_fkey"));
    assert_ne!(long, postgres::derived_name(&a, &format!("{}c", &b[..39]), "fkey"));
}
