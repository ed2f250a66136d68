//! What a copy of the server's database gives away of tokens and codes: nothing that lets anybody in.

use std::path::Path;

use tidemark_core::joincode::JoinCode;

use crate::common::field;
use crate::common::program::works;
use crate::common::site::{site_over, word};
use crate::common::stores::{Kind, Store};

/// The bytes are in a file of the folder, as they are or as hex.
fn holds(folder: &Path, secret: &[u8]) -> bool {
    let hex = tidemark_core::value::hex(secret);
    let found = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| found(&bytes, secret) || found(&bytes, hex.as_bytes()))
}

#[tokio::test]
async fn a_copy_of_the_database_holds_the_hash_of_a_token_and_not_the_token() {
    let site = site_over(Store::open(Kind::Sqlite, &[field()]).await, |_| {}).await;
    let _ = site.join(0xA7).await;
    let folder = site.store.folder.path();
    assert_eq!(word(0xA7), tidemark_core::value::hex(&[0xA7; 32]));
    assert!(!holds(folder, &[0xA7; 32]), "the token is in the database");
    assert!(holds(folder, blake3::hash(&[0xA7; 32]).as_bytes()), "its hash is not");
}

#[test]
fn a_copy_of_the_database_holds_the_hash_of_a_code_and_not_the_code() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("database");
    std::fs::create_dir(&database).unwrap();
    let url = format!("sqlite:///{}/upstream.db", database.display());
    works(folder.path(), &["migrate", "up", "--database", &url]);
    let add = ["station", "add", "north", "--public-url", "http://127.0.0.1:1", "--database", &url];
    let printed = works(folder.path(), &add);
    let code = JoinCode::decode(printed.lines().last().unwrap().trim()).unwrap();
    assert!(!holds(&database, &code.secret), "the code is in the database");
    assert!(holds(&database, blake3::hash(&code.secret).as_bytes()), "its hash is not");
}
