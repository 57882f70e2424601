//! A budget among those who share it.

use futures_util::FutureExt as _;

use super::*;

const MIB: usize = 1024 * 1024;

fn shares<const COUNT: usize>(budget: &Budget) -> [Share; COUNT] {
    std::array::from_fn(|number| budget.share(Who::Connection(number as u64)))
}

#[tokio::test]
async fn what_is_held_is_counted_until_it_is_let_go_and_what_is_small_is_free() {
    let budget = Budget::new(MIB);
    let [share] = shares(&budget);
    let mut held = share.try_take(MIB / 4).expect("room");
    assert!(share.try_grow(&mut held, MIB / 2) && held.bytes() == MIB / 2);
    assert!(!share.try_grow(&mut held, MIB / 2 + 1));
    assert_eq!(share.try_take(FREE_BYTES).expect("small").bytes(), 0);
    let mut rest = held.split_off(MIB / 8);
    assert_eq!((held.bytes(), rest.bytes()), (MIB / 8, 3 * MIB / 8));
    rest.shrink_to(FREE_BYTES);
    assert_eq!(rest.bytes(), 0);
    let bytes = held.counted(vec![0; MIB / 16]);
    assert!(share.try_take(MIB / 2).is_none());
    drop((bytes.slice(..1), bytes));
    drop(share.try_take(MIB / 2).expect("room"));
    assert!(budget.lock().is_empty());
}

#[test]
fn nobody_holds_more_than_what_is_left_for_others() {
    let budget = Budget::new(MIB);
    let [first, second, third] = shares(&budget);
    let greedy = |share: &Share| {
        let more = || share.try_take(MIB / 64);
        std::iter::from_fn(more).collect::<Vec<Held>>()
    };
    let all = greedy(&first);
    assert_eq!(all.len(), 32, "one alone has half");
    let half_of_the_rest = greedy(&second);
    assert_eq!(half_of_the_rest.len(), 16);
    assert!(first.try_take(MIB / 64).is_none());
    assert_eq!(greedy(&third).len(), 8, "whoever comes next finds room");
    drop((all, half_of_the_rest));
    assert!(budget.lock().is_empty());
}

#[test]
fn of_those_who_hold_a_part_and_wait_for_the_rest_one_after_the_other_comes_to_its_end() {
    let budget = Budget::new(MIB);
    let shares: [Share; 8] = shares(&budget);
    let mut parts: Vec<Held> =
        shares.iter().map(|it| it.try_take(MIB / 16).expect("room")).collect();
    let (mut ended, mut waiting) = (0, Vec::new());
    for (share, held) in shares.iter().zip(&parts) {
        waiting.push(Some(share.more(held, 2 * MIB, true)));
    }
    while ended < shares.len() {
        let granted: Vec<usize> = (0..shares.len())
            .filter(|at| {
                let Some(waits) = &mut waiting[*at] else { return false };
                let Some(more) = waits.now_or_never() else { return false };
                parts[*at].join(more);
                true
            })
            .collect();
        assert_eq!(granted.len(), 1, "one at a time");
        for at in granted {
            assert!(shares[at].try_grow(&mut parts[at], 3 * MIB), "it goes on to its end");
            assert_eq!(parts[at].bytes(), 3 * MIB);
            waiting[at] = None;
            parts[at].shrink_to(0);
            ended += 1;
        }
    }
    assert!(budget.lock().is_empty());
}

#[test]
fn those_who_wait_come_in_turn_and_those_who_have_gone_hold_nothing() {
    let budget = Budget::new(MIB);
    let [one, other] = shares(&budget);
    let none = Held::default();
    let passes = one.more(&none, 4 * MIB, true).now_or_never().expect("one at a time");
    let held = one.try_take(MIB / 2).expect("room");
    let mut waiting = [(&one, MIB / 4), (&one, MIB / 8), (&other, MIB / 3)]
        .map(|(share, bytes)| Some(share.more(&none, bytes, true)));
    let mut granted = || {
        waiting.each_mut().map(|it| {
            let held = it.as_mut().and_then(|waits| waits.now_or_never());
            if held.is_some() {
                *it = None;
            }
            held
        })
    };
    assert!(granted().iter().all(Option::is_none));
    assert!(one.is_short(), "it holds what others wait for");
    assert!(one.try_take(MIB / 64).is_none(), "others with its share were there before");
    let nobody = one.more(&none, MIB, true);
    drop(passes);
    let [first, second, third] = granted();
    assert!(first.is_some() && second.is_none() && third.is_none(), "the first passes");
    drop(held);
    let [_, second, third] = granted();
    assert!(second.is_some() && third.is_some());
    drop((nobody, first, second, third));
    assert!(!one.is_short() && budget.lock().is_empty());
}

#[test]
fn who_may_not_pass_waits_for_its_share() {
    let budget = Budget::new(MIB);
    let [share, other] = shares(&budget);
    let held = share.try_take(MIB / 2).expect("room");
    let mut waits = share.more(&held, MIB, false);
    assert!((&mut waits).now_or_never().is_none());
    let before = share.more(&held, MIB, true).now_or_never();
    drop(before.expect("who may pass does not wait for one that may not"));
    let passes = other.more(&Held::default(), MIB, true).now_or_never().expect("it may");
    drop((passes, held));
    assert_eq!(waits.now_or_never().expect("its share").bytes(), MIB / 2);
    assert!(budget.lock().is_empty());
}
