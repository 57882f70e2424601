//! Which jobs a filter means.

/// Whether a row is one that a filter means; the parameters from `?2` on are the filter's, in its order.
macro_rules! meant {
    () => {
        "(?2 is null or state = ?2) and (?3 is null or function = ?3) and (?4 is null or queue = ?4)
    and (?5 is null or exists (select 1 from json_each(labels, '$[0]') as t where t.value = ?5))
    and (?6 is null or created_at + coalesce(options ->> '$.wall_ahead_ms', 0) > ?6)
    and (?7 is null or created_at + coalesce(options ->> '$.wall_ahead_ms', 0) < ?7)
    and (?8 is null or batch = (select b.ordinal from batches as b where b.id = ?8))"
    };
}
pub(in crate::store::sqlite) use meant;
