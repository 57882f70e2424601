//! Removals as SQLite makes them: pages go back to the file system, and a group that fails removes nothing.

use crate::store::conformance::removals::{OVER, large, short};
use crate::store::conformance::{Figure, NOW, Ordinal, TestStore, oneshot, returned};
use crate::store::sqlite::connection::open_writer;
use crate::store::sqlite::counters::Counters;
use crate::store::sqlite::durability::vacuum::Vacuum;
use crate::store::sqlite::group;
use crate::store::sqlite::hot::statements::HotStatements;
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::statements::Statements;
use crate::store::sqlite::write::{Reply, pending};
use crate::store::{Now, SweepCursor, Vacuumed};

impl TestStore {
    /// Vacuums in a group that has another member.
    pub async fn vacuum_among_others(&self, forced: bool) -> Vacuumed {
        let connection = open_writer(&self.config.path).expect("a connection");
        let (vacuumed, answer) = oneshot::channel();
        let mut members = [
            pending(Vacuum { forced }, Reply::new(vacuumed, None)),
            pending(Now { now: NOW, wall: NOW }, Reply::none()),
        ];
        let counters = Counters { epoch: 1, ..Counters::default() };
        let mut slots = Slots::new(&self.config);
        let hot = HotStatements::prepare(&connection).expect("statements");
        let sql = Statements::new(&connection, &hot);
        let mut txn = group::begin(sql, &mut slots, counters, NOW).expect("a group");
        group::run(&mut txn, &mut members).expect("it runs");
        group::commit(txn, &mut counters.clone()).expect("a commit");
        members.into_iter().for_each(|member| member.answer(None));
        answer.await.expect("an answer").expect("vacuumed")
    }
}

#[tokio::test]
async fn g20_the_file_shrinks_and_others_go_first() {
    let it = TestStore::of_workers(1).await;
    for number in 1..=12 {
        it.finish(short(number), large(1_000_000)).await;
    }
    let size = |it: &TestStore| {
        it.aside()
            .query_row("pragma wal_checkpoint(truncate)", (), |_| Ok(()))
            .expect("a checkpoint");
        std::fs::metadata(&it.config.path.file).expect("a file").len()
    };
    let before = size(&it);
    assert!(before > 12_000_000, "{before}");
    it.pass(OVER).await;
    let free = "select freelist_count from pragma_freelist_count";
    let freed = it.select(free);
    assert_eq!(it.vacuum_among_others(false).await, Vacuumed::Busy);
    assert_eq!(it.select(free), freed);
    assert_eq!(it.vacuum_among_others(true).await, Vacuumed::Partly);
    assert_eq!(it.select(free), freed - 64, "a portion");
    while it.store.vacuum(false).await.expect("an answer") == Vacuumed::Partly {}
    let after = size(&it);
    assert!(after < before / 4, "{before} bytes became {after}");
    assert_eq!(it.store.vacuum(true).await.expect("an answer"), Vacuumed::Wholly);
}

#[tokio::test]
async fn g20_a_group_that_fails_removes_nothing_and_the_next_one_does() {
    let it = TestStore::of_workers(1).await;
    let job = it.finish(short(1), returned()).await;
    // A row that refers to the job and that the store knows nothing of.
    let aside = it.aside();
    aside
        .execute_batch(
            "create table foreign_rows (job integer references calls (ordinal));
             insert into foreign_rows select ordinal from jobs",
        )
        .expect("a table");
    assert!(it.store.sweep(OVER, SweepCursor::NOTHING).await.is_err());
    assert!(it.is_there(&job).await);
    assert_eq!(it.number(Figure::Tombstones), 0);
    aside.execute_batch("drop table foreign_rows").expect("gone");
    assert_eq!(it.clean(OVER).await.removed, 1);
    assert_eq!(it.jobs_at(&[Ordinal(1)]).await, []);
}
