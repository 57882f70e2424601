//! Free pages are given back to the file system.

use crate::store::contract::{Error, Vacuumed};
use crate::store::sqlite::handle::Sqlite;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::txn::Txn;
use crate::store::sqlite::write::{Phase, Ran, Write};

/// Free pages that stay in the file (1 MiB): they will be written again soon.
const FREE_PAGES_KEPT: usize = 256;

const SELECT_FREE_PAGES: &str = "select freelist_count from pragma_freelist_count";

/// A portion of 256 KiB: pages at the end of the file go to where there is room before, and the file ends earlier.
const GIVE_BACK_PAGES: &str = "pragma incremental_vacuum(64)";

/// Gives free pages back, if nobody else is in this group or it must be.
#[derive(Debug)]
pub struct Vacuum {
    pub forced: bool,
}

impl Write for Vacuum {
    type Output = Vacuumed;

    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Vacuumed> {
        if free_pages(txn.sql)? <= FREE_PAGES_KEPT {
            return Ok(Ok(Vacuumed::Wholly));
        }
        if !txn.is_alone && !self.forced {
            return Ok(Ok(Vacuumed::Busy));
        }
        give_back_pages(txn.sql)?;
        Ok(Ok(Vacuumed::Partly))
    }

    fn phase(&self) -> Phase {
        Phase::Upkeep
    }
}

impl Sqlite {
    pub async fn vacuum(&self, forced: bool) -> Result<Vacuumed, Error> {
        self.write(Vacuum { forced }).await
    }
}

/// Pages of the file that nothing stands on.
pub fn free_pages(sql: Statements<'_>) -> rusqlite::Result<usize> {
    let pages: i64 = sql.prepared(SELECT_FREE_PAGES)?.query_row((), |row| row.get(0))?;
    Ok(usize::try_from(pages).unwrap_or(0))
}

/// Gives a portion of the free pages back.
pub fn give_back_pages(sql: Statements<'_>) -> rusqlite::Result<()> {
    let mut statement = sql.prepared(GIVE_BACK_PAGES)?;
    let mut pages = statement.query(())?;
    // Each step gives one page back.
    while pages.next()?.is_some() {}
    Ok(())
}
