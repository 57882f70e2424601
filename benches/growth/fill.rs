//! Millions of jobs, in seconds: copies of two jobs that the server itself has written.
//!
//! The schema is the server's own, and so is every column that is not counted here: a done job and a waiting one go
//! through the server, which is then stopped; SQL multiplies their rows, each with an ordinal, an id and a place in the
//! order of changes of its own. What is copied differs from what would have been submitted only in that the copies
//! are alike.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, params};
use serde::Serialize;

/// How many of each.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Amount {
    pub finished: u32,
    pub pending: u32,
}

/// Copies the newest done job and the newest waiting one.
pub fn multiply(database: &Path, amount: Amount) -> Result<()> {
    let mut connection = Connection::open(database)?;
    // Nobody asks whether this survives a power cut.
    connection.execute_batch("pragma synchronous = off; pragma cache_size = -200000")?;
    let transaction = connection.transaction()?;
    copy(&transaction, "succeeded", amount.finished)?;
    copy(&transaction, "pending", amount.pending)?;
    transaction.commit()?;
    connection.execute_batch("pragma wal_checkpoint(truncate)")?;
    // Or the kernel would write it while the servers are measured.
    File::open(database)?.sync_all()?;
    let sound: String = connection.query_row("pragma quick_check(1)", (), |row| row.get(0))?;
    ensure!(sound == "ok", "the filled database is not sound: {sound}");
    Ok(())
}

fn copy(connection: &Connection, state: &str, count: u32) -> Result<()> {
    let template: i64 = connection
        .query_row("select max(ordinal) from jobs where state = ?", [state], |row| row.get(0))
        .with_context(|| format!("there is no job to copy that is {state}"))?;
    let (ordinal, seq): (i64, i64) =
        connection.query_row("select max(ordinal), max(seq) from jobs", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    for (table, place) in [("calls", "ordinal"), ("ends", "job"), ("unfinished", "job")] {
        let mut names = connection.prepare("select name from pragma_table_info(?)")?;
        let names = names.query_map([table], |row| row.get::<_, String>(0))?;
        let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
        let values: Vec<String> = names.iter().map(|name| value(name)).collect();
        let insert = format!(
            "insert into {table} ({}) with recursive
                n (i) as (select 1 union all select i + 1 from n where i < ?2),
                last (ordinal, seq) as (select ?3, ?4)
            select {} from n, last, {table} as t where t.{place} = ?1 and ?2 > 0",
            names.join(", "),
            values.join(", ")
        );
        let written = connection.execute(&insert, params![template, count, ordinal, seq])?;
        let is_wanted = match table {
            "ends" => state == "succeeded",
            "unfinished" => state == "pending",
            _ => true,
        };
        let wanted = if is_wanted { usize::try_from(count)? } else { 0 };
        ensure!(written == wanted, "{written} rows of {table}, not {wanted}");
    }
    connection.execute(
        "update counters set ordinal = max(ordinal, (select max(ordinal) from jobs)),
            seq = max(seq, (select max(seq) from jobs))",
        (),
    )?;
    Ok(())
}

/// What stands in this column of copy number `i` of `t`.
fn value(column: &str) -> String {
    match column {
        "ordinal" | "job" => "last.ordinal + i".to_owned(),
        "seq" => "last.seq + i".to_owned(),
        // UUIDs of version 7, one a millisecond and all of the past, in the order of the ordinals.
        "id" => "unhex(printf('%012x7000%04x%012x', t.created_at - 20000000 + last.ordinal + i,
            32768, last.ordinal + i))"
            .to_owned(),
        _ => format!("t.{column}"),
    }
}
