//! Rows that are inserted many at a time: to run a statement costs as much as a quarter of a row.

use std::cell::RefCell;

use rusqlite::{Connection, Statement, ToSql};

/// Rows of the largest statement.
pub const ROWS_PER_INSERT: usize = 16;

const FOUR: usize = 4;

/// Gives the values of a row to a statement, those from that parameter on. What the row has in common with the one that
/// stood in its place before, of which `K` is known, it has still: a statement keeps its values when it has run.
pub type Bind<R, K> = fn(&R, &mut Statement<'_>, usize, &mut K) -> rusqlite::Result<()>;

/// Numbers that a row has still, from a parameter on.
#[derive(Debug)]
pub struct Numbers<const N: usize>([Option<Option<i64>>; N]);

impl<const N: usize> Default for Numbers<N> {
    fn default() -> Self {
        Self([None; N])
    }
}

impl<const N: usize> Numbers<N> {
    /// Gives those to the statement that are others now.
    pub fn bind(
        &mut self,
        statement: &mut Statement<'_>,
        first: usize,
        numbers: [Option<i64>; N],
    ) -> rusqlite::Result<()> {
        for ((place, kept), number) in (first..).zip(&mut self.0).zip(numbers) {
            if *kept != Some(number) {
                *kept = None;
                statement.raw_bind_parameter(place, number)?;
                *kept = Some(number);
            }
        }
        Ok(())
    }
}

/// An insert, but for how many rows it has.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// Up to `values`.
    pub into: &'static str,
    /// One row, in brackets.
    pub row: &'static str,
}

impl Rows {
    /// Each of the statements: of one row, of four and of sixteen.
    pub fn statements(self) -> [String; 3] {
        [1, FOUR, ROWS_PER_INSERT]
            .map(|rows| [self.into, &vec![self.row; rows].join(", ")].concat())
    }

    /// Values that are given to a row.
    fn values(self) -> usize {
        self.row.matches('?').count()
    }
}

/// One of the statements, and what each of its rows has still.
#[derive(Debug)]
struct Insert<'c, K> {
    statement: Statement<'c>,
    kept: Vec<K>,
}

impl<'c, K: Default> Insert<'c, K> {
    fn prepare(
        connection: &'c Connection,
        sql: &str,
        rows: usize,
    ) -> rusqlite::Result<RefCell<Self>> {
        let kept = std::iter::repeat_with(K::default).take(rows).collect();
        Ok(RefCell::new(Self { statement: connection.prepare(sql)?, kept }))
    }

    fn run<R>(&mut self, rows: &[R], (values, bind): (usize, Bind<R, K>)) -> rusqlite::Result<()> {
        debug_assert_eq!(rows.len(), self.kept.len(), "as many as the statement has");
        for (place, (row, kept)) in rows.iter().zip(&mut self.kept).enumerate() {
            bind(row, &mut self.statement, place * values + 1, kept)?;
        }
        self.statement.raw_execute().map(drop)
    }
}

/// All of them, ready to run.
#[derive(Debug)]
pub struct MultiRowInsert<'c, R, K> {
    one: RefCell<Insert<'c, K>>,
    four: RefCell<Insert<'c, K>>,
    sixteen: RefCell<Insert<'c, K>>,
    /// Of a row, and how it gives them.
    values: (usize, Bind<R, K>),
}

impl<'c, R, K: Default> MultiRowInsert<'c, R, K> {
    pub fn prepare(
        connection: &'c Connection,
        rows: Rows,
        bind: Bind<R, K>,
    ) -> rusqlite::Result<Self> {
        let [one, four, sixteen] = rows.statements();
        Ok(Self {
            one: Insert::prepare(connection, &one, 1)?,
            four: Insert::prepare(connection, &four, FOUR)?,
            sixteen: Insert::prepare(connection, &sixteen, ROWS_PER_INSERT)?,
            values: (rows.values(), bind),
        })
    }

    pub fn insert(&self, rows: &[R]) -> rusqlite::Result<()> {
        let (sixteens, rest) = rows.as_chunks::<ROWS_PER_INSERT>();
        let (fours, ones) = rest.as_chunks::<FOUR>();
        let values = self.values;
        sixteens.iter().try_for_each(|rows| self.sixteen.borrow_mut().run(rows, values))?;
        fours.iter().try_for_each(|rows| self.four.borrow_mut().run(rows, values))?;
        ones.chunks(1).try_for_each(|row| self.one.borrow_mut().run(row, values))
    }
}

/// Gives values to the parameters from `first` on.
pub fn bind(
    statement: &mut Statement<'_>,
    first: usize,
    values: &[&dyn ToSql],
) -> rusqlite::Result<()> {
    (first..).zip(values).try_for_each(|(place, value)| statement.raw_bind_parameter(place, value))
}
