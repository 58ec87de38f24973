//! The schema of the database: ours, of the right version, or made so.

use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::late;
use super::target::{CONNECT, Target};
use crate::engine::ports::StoreError;

/// One script a version, applied in order to a database that has fewer.
const MIGRATIONS: [&str; 9] = [
    include_str!("../postgres.sql"),
    include_str!("../postgres-2.sql"),
    include_str!("../postgres-3.sql"),
    include_str!("../postgres-4.sql"),
    include_str!("../postgres-5.sql"),
    include_str!("../postgres-6.sql"),
    include_str!("../postgres-7.sql"),
    include_str!("../postgres-8.sql"),
    include_str!("../postgres-9.sql"),
];
/// One node at a time migrates ("Rvlt").
const LOCK: i64 = 0x5276_6c74;

/// Checks the database, brings its schema up to date and looks at something in it, on a connection
/// and a runtime of its own: the caller may be on a runtime that must not block itself.
pub fn before_use<T: Send>(
    target: &Target,
    look: impl AsyncFnOnce(&Client) -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    let failed = |cause: std::io::Error| StoreError::Failed(cause.to_string());
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().map_err(failed)?;
            runtime.block_on(check(target, look))
        });
        let broken = || StoreError::Failed("the check of the database broke".into());
        work.join().unwrap_or_else(|_| Err(broken()))
    })
}

async fn check<T>(
    target: &Target,
    look: impl AsyncFnOnce(&Client) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let named = |error: StoreError| {
        StoreError::Failed(format!("`{}`: {}", target.shown, error.into_cause()))
    };
    let (client, connection) = connect(target).await.map_err(named)?;
    let driven = tokio::spawn(connection);
    let checked = match migrate(&client).await {
        Ok(()) => look(&client).await,
        Err(error) => Err(error),
    };
    driven.abort();
    checked.map_err(named)
}

type Driver = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// A connection outside the pool, and what drives it.
pub async fn connect(target: &Target) -> Result<(Client, Driver), StoreError> {
    let connected = timeout(CONNECT, target.config.connect(target.tls.clone())).await;
    Ok(connected.map_err(|_| late())??)
}

async fn migrate(client: &Client) -> Result<(), StoreError> {
    // Another node may take its time.
    client
        .batch_execute("SET lock_timeout = 0; SET statement_timeout = 0; BEGIN")
        .await?;
    client
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    let version = version(client).await?;
    let known = MIGRATIONS.len();
    if version > known {
        return Err(StoreError::Failed(format!(
            "it has schema version {version}; this program knows versions up to {known}. \
             Start the newer program that wrote it, or name another database"
        )));
    }
    for script in MIGRATIONS.iter().skip(version) {
        client.batch_execute(script).await?;
    }
    if version < known {
        let known = known as i64;
        client
            .execute("UPDATE rivulet SET version = $1", &[&known])
            .await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// The version of the schema; makes the table that tells it in a database that is empty.
async fn version(client: &Client) -> Result<usize, StoreError> {
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(StoreError::Failed(format!(
            "its encoding is {encoding}; create one with the encoding UTF8"
        )));
    }
    let tables = client
        .query(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
            &[],
        )
        .await?;
    if tables.iter().any(|row| row.get::<_, &str>(0) == "rivulet") {
        let row = client.query_one("SELECT version FROM rivulet", &[]).await?;
        return Ok(row.get::<_, i64>(0) as usize);
    }
    if let Some(first) = tables.first() {
        return Err(StoreError::Failed(format!(
            "it holds the table `{}` of another program. Name another database, or an empty \
             schema of this one with ?options=-csearch_path%3DNAME",
            first.get::<_, &str>(0)
        )));
    }
    client
        .batch_execute(
            "CREATE TABLE rivulet (version BIGINT NOT NULL); INSERT INTO rivulet VALUES (0)",
        )
        .await?;
    Ok(0)
}
