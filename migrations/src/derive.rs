//! SQL derived from a schema: its tables, and the additive step from one version of it to the next.

use tidemark_core::postgres::{self, TimePartitioning};
use tidemark_core::schema::{Schema, Table, not_additions};
use tidemark_core::sqlite::{self, quote};

/// The database that SQL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL, with TimescaleDB or without.
    Postgres,
    /// The embedded upstream.
    Sqlite,
}

/// The two texts of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// The SQL that makes it.
    pub up: String,
    /// The SQL that takes it away.
    pub down: String,
}

fn script(statements: impl IntoIterator<Item = String>) -> String {
    statements.into_iter().map(|statement| format!("{statement};\n")).collect::<Vec<_>>().join("\n")
}

fn parents_first(schema: &Schema) -> impl DoubleEndedIterator<Item = &Table> {
    schema.parents_first().iter().map(|&index| &schema.tables()[index])
}

fn names(schema: &Schema, table: &Table, dialect: Dialect) -> String {
    match dialect {
        Dialect::Postgres => postgres::qualified(schema, table),
        Dialect::Sqlite => quote(&table.name),
    }
}

fn drop_tables<'s>(schema: &Schema, tables: impl Iterator<Item = &'s Table>, dialect: Dialect) -> Vec<String> {
    tables.map(|table| format!("DROP TABLE {}", names(schema, table, dialect))).collect()
}

/// All tables of a schema.
#[must_use]
pub fn create(schema: &Schema, dialect: Dialect) -> Sql {
    match dialect {
        Dialect::Postgres => {
            let tables = tables(schema);
            let hypertables = hypertables(schema);
            let up = if hypertables.up.is_empty() { tables.up } else { format!("{}\n{}", tables.up, hypertables.up) };
            Sql { up, down: tables.down }
        }
        Dialect::Sqlite => Sql {
            up: script(parents_first(schema).flat_map(|table| {
                let mut statements = vec![sqlite::create_upstream_table(table)];
                statements.extend(sqlite::create_upstream_indexes(schema, table));
                statements
            })),
            down: script(drop_tables(schema, parents_first(schema).rev(), dialect)),
        },
    }
}

/// PostgreSQL: all tables, as ordinary ones.
#[must_use]
pub fn tables(schema: &Schema) -> Sql {
    let mut down = drop_tables(schema, parents_first(schema).rev(), Dialect::Postgres);
    down.push(format!("DROP SCHEMA {}", quote(schema.name())));
    Sql { up: script(postgres::create_all(schema, TimePartitioning::Plain)), down: script(down) }
}

/// PostgreSQL: what makes tables with a time column hypertables, where the extension is; empty when there are none.
#[must_use]
pub fn hypertables(schema: &Schema) -> Sql {
    let timed: Vec<&Table> = parents_first(schema).filter(|table| table.time.is_some()).collect();
    let made = timed.iter().filter_map(|table| make_hypertable(schema, table));
    // A hypertable cannot become an ordinary table again: it is dropped, and made anew as one.
    let unmade = timed.iter().flat_map(|table| {
        let mut statements = vec![format!("DROP TABLE {}", postgres::qualified(schema, table))];
        statements.push(postgres::create_table(schema, table));
        statements.extend(postgres::create_indexes(schema, table));
        statements.extend(postgres::create_comments(schema, table));
        statements
    });
    Sql { up: where_timescale_is(made), down: where_timescale_is(unmade) }
}

fn make_hypertable(schema: &Schema, table: &Table) -> Option<String> {
    let statement = postgres::partition_by_time(schema, table, TimePartitioning::Hypertable)?;
    Some(statement.replacen("SELECT ", "PERFORM ", 1))
}

/// A block that runs its statements only where the extension is created.
fn where_timescale_is(statements: impl IntoIterator<Item = String>) -> String {
    let body: String = statements.into_iter().map(|statement| format!("{statement};\n")).collect();
    if body.is_empty() {
        return String::new();
    }
    let body: String = body.lines().map(|line| format!("        {line}\n")).collect();
    let mut tag = "$tidemark$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, '_');
    }
    format!(
        "DO {tag}\nBEGIN\n    IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'timescaledb') THEN\n{body}    END IF;\nEND\n{tag};\n"
    )
}

/// The step from an older version of a schema to a newer one that only adds tables and nullable columns.
///
/// Added columns are NULL in the rows that are there, whatever their default: the stations' rows are too.
///
/// # Errors
/// Every difference that is not an addition.
pub fn evolve(old: &Schema, new: &Schema, dialect: Dialect) -> Result<Sql, Vec<String>> {
    let reasons = not_additions(old, new);
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let (mut up, mut down, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
    for table in parents_first(new) {
        let name = names(new, table, dialect);
        let Some(before) = old.table(&table.name) else {
            match dialect {
                Dialect::Postgres => {
                    up.push(postgres::create_table(new, table));
                    up.extend(postgres::create_indexes(new, table));
                    up.extend(postgres::create_comments(new, table));
                    blocks.extend(make_hypertable(new, table));
                }
                Dialect::Sqlite => {
                    up.push(sqlite::create_upstream_table(table));
                    up.extend(sqlite::create_upstream_indexes(new, table));
                }
            }
            down.push(format!("DROP TABLE {name}"));
            continue;
        };
        for (index, column) in table.columns.iter().enumerate() {
            if before.column_index(&column.name).is_some() {
                continue;
            }
            let quoted = quote(&column.name);
            match dialect {
                Dialect::Postgres => {
                    up.push(format!("ALTER TABLE {name} ADD COLUMN {}", postgres::column_definition(table, index)));
                    up.extend(
                        postgres::column_default(column)
                            .map(|default| format!("ALTER TABLE {name} ALTER COLUMN {quoted} SET DEFAULT {default}")),
                    );
                    up.extend(
                        postgres::check_constraint(table, column)
                            .map(|check| format!("ALTER TABLE {name} ADD {check}")),
                    );
                    for (_, parent) in postgres::foreign_keys(new, table).filter(|(child, _)| child.name == column.name)
                    {
                        let key = postgres::foreign_key_constraint(new, table, column, parent);
                        up.push(format!("ALTER TABLE {name} ADD {key}"));
                    }
                    up.extend(postgres::comment_on_column(new, table, column));
                }
                Dialect::Sqlite => {
                    up.push(format!(
                        "ALTER TABLE {name} ADD COLUMN {}",
                        sqlite::upstream_column_definition(table, index)
                    ));
                }
            }
            down.push(format!("ALTER TABLE {name} DROP COLUMN {quoted}"));
        }
        let (now, then) = match dialect {
            Dialect::Postgres => (postgres::create_indexes(new, table), postgres::create_indexes(old, before)),
            Dialect::Sqlite => {
                (sqlite::create_upstream_indexes(new, table), sqlite::create_upstream_indexes(old, before))
            }
        };
        let added: Vec<String> = now.into_iter().filter(|index| !then.contains(index)).collect();
        if dialect == Dialect::Sqlite {
            // SQLite drops no column that an index names.
            down.extend(
                added
                    .iter()
                    .filter_map(|index| index.split_whitespace().nth(2))
                    .map(|name| format!("DROP INDEX {name}")),
            );
        }
        up.extend(added);
    }
    down.reverse();
    let block = where_timescale_is(blocks);
    let up = script(up);
    Ok(Sql { up: if block.is_empty() { up } else { format!("{up}\n{block}") }, down: script(down) })
}
