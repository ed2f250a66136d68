//! The rights of a role: what a server needs, and the GRANT for each right that is missing.
//!
//! All of it is read from the catalogue, which every role may read: a role without any right gets the whole list.

use tidemark_core::schema::Schema;
use tokio_postgres::Client;

use super::point::{Point, bad, good};
use crate::stores::postgres::message_of;

/// The namespace of Tidemark's own tables.
const OWN: &str = "tidemark";
/// The namespace of the reports' roll-ups.
const REPORTS: &str = "shrinkage_reports";
/// Tables that only migrations write: a server reads them.
const RECORDS: [&str; 2] = ["migration", "schema"];
/// The rights on a table that are looked at, in the order of the query's columns.
const ON_TABLES: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// A namespace.
struct Namespace {
    name: String,
    quoted: String,
    usage: bool,
}

/// A table; `quoted` with its namespace.
struct Table {
    namespace: String,
    name: String,
    quoted: String,
    may: [bool; 4],
}

impl Table {
    /// The rights a server needs that the role has not.
    fn lacks(&self) -> Vec<&'static str> {
        let needed = if self.namespace == OWN && RECORDS.contains(&self.name.as_str()) { 1 } else { ON_TABLES.len() };
        ON_TABLES.iter().zip(self.may).take(needed).filter(|(_, may)| !may).map(|(right, _)| *right).collect()
    }
}

/// The rights of a role.
pub(super) struct Rights {
    /// The role and the database, quoted as identifiers.
    role: String,
    database: String,
    temporary: bool,
    create: bool,
    namespaces: Vec<Namespace>,
    tables: Vec<Table>,
}

impl Rights {
    /// Reads them.
    ///
    /// # Errors
    /// When the database does not answer; its words.
    pub(super) async fn read(client: &Client) -> Result<Self, String> {
        let failed = |error| message_of(&error);
        let sql = "SELECT pg_catalog.quote_ident(current_user), pg_catalog.quote_ident(current_database()),
            pg_catalog.has_database_privilege(current_database(), 'TEMP'),
            pg_catalog.has_database_privilege(current_database(), 'CREATE')";
        let row = client.query_one(sql, &[]).await.map_err(failed)?;
        let sql = "SELECT nspname::text, pg_catalog.quote_ident(nspname), pg_catalog.has_schema_privilege(oid, 'USAGE')
            FROM pg_catalog.pg_namespace ORDER BY nspname <> 'tidemark', nspname";
        let namespaces = client.query(sql, &[]).await.map_err(failed)?;
        let sql = "SELECT n.nspname::text, c.relname::text, pg_catalog.format('%I.%I', n.nspname, c.relname),
                pg_catalog.has_table_privilege(c.oid, 'SELECT'), pg_catalog.has_table_privilege(c.oid, 'INSERT'),
                pg_catalog.has_table_privilege(c.oid, 'UPDATE'), pg_catalog.has_table_privilege(c.oid, 'DELETE')
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') ORDER BY n.nspname <> 'tidemark', n.nspname, c.relname";
        let tables = client.query(sql, &[]).await.map_err(failed)?;
        let namespaces =
            namespaces.iter().map(|row| Namespace { name: row.get(0), quoted: row.get(1), usage: row.get(2) });
        let tables = tables.iter().map(|row| Table {
            namespace: row.get(0),
            name: row.get(1),
            quoted: row.get(2),
            may: [3, 4, 5, 6].map(|at| row.get(at)),
        });
        Ok(Self {
            role: row.get(0),
            database: row.get(1),
            temporary: row.get(2),
            create: row.get(3),
            namespaces: namespaces.collect(),
            tables: tables.collect(),
        })
    }

    /// The record of migrations can be read; also when there is nothing to read yet.
    pub(super) fn records_readable(&self) -> bool {
        let usage =
            self.namespaces.iter().find(|namespace| namespace.name == OWN).is_none_or(|namespace| namespace.usage);
        usage
            && self
                .tables
                .iter()
                .filter(|table| table.namespace == OWN && RECORDS.contains(&table.name.as_str()))
                .all(|table| table.may[0])
    }

    /// A point for each thing the role lacks, with its GRANT; one that says all is well when it lacks nothing.
    pub(super) fn points(&self, schema: &Schema) -> Vec<Point> {
        let Self { role, database, .. } = self;
        let lacks = |what: String, sql: String| Point { sql: Some(sql), ..bad("rights", what) };
        let mut points = Vec::new();
        if !self.temporary {
            points.push(lacks(
                format!("{role} may make no temporary tables, through which updates go"),
                format!("GRANT TEMPORARY ON DATABASE {database} TO {role}"),
            ));
        }
        let concerns = |name: &str| [OWN, REPORTS, schema.name()].contains(&name);
        let ours = self.tables.iter().filter(|table| concerns(&table.namespace));
        let ours = ours.filter(|table| table.namespace != schema.name() || schema.table(&table.name).is_some());
        let ours: Vec<&Table> = ours.collect();
        if ours.is_empty() && !self.create {
            points.push(lacks(
                format!("{role} may make no schemas, and the migrations make some"),
                format!("GRANT CREATE ON DATABASE {database} TO {role}"),
            ));
        }
        for namespace in self.namespaces.iter().filter(|namespace| concerns(&namespace.name) && !namespace.usage) {
            points.push(lacks(
                format!("{role} may not look into schema {}", namespace.quoted),
                format!("GRANT USAGE ON SCHEMA {} TO {role}", namespace.quoted),
            ));
        }
        // Tables of one namespace that lack the same, in one statement.
        let mut groups: Vec<(&str, Vec<&str>, Vec<&str>)> = Vec::new();
        for table in ours {
            let missing = table.lacks();
            if missing.is_empty() {
                continue;
            }
            match groups.iter_mut().find(|(namespace, rights, _)| *namespace == table.namespace && *rights == missing) {
                Some((_, _, tables)) => tables.push(&table.quoted),
                None => groups.push((&table.namespace, missing, vec![&table.quoted])),
            }
        }
        for (namespace, rights, tables) in groups {
            let rights = rights.join(", ");
            points.push(lacks(
                format!(
                    "{role} lacks {rights} on {} of schema {namespace}",
                    tidemark_core::amount::count(tables.len() as u64, "table")
                ),
                format!("GRANT {rights} ON {} TO {role}", tables.join(", ")),
            ));
        }
        if points.is_empty() {
            points.push(good("rights", format!("{role} may do what the server does")));
        }
        points
    }
}
