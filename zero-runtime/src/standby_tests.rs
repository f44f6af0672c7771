use super::*;

const MS: u64 = 1_000_000;

fn share(ran: u32, waited: u32) -> Share {
    Share { ran, waited }
}

/// A server of two shards, as the one sees it that shares its core.
fn view(own: Share, colleagues: &[Colleague]) -> View<'_> {
    View {
        now_ns: 5_000 * MS,
        share: own,
        connections: 32,
        connections_max: 1000,
        colleagues,
        is_any_standing_by: false,
        may_stand_by: true,
    }
}

fn colleague(share: Share) -> Colleague {
    Colleague {
        index: 7,
        share: Some(share),
        connections: 32,
    }
}

/// What is advised at the last of so many looks at the same.
fn advised(standby: &mut Standby, looks: u32, view: &View<'_>) -> Advice {
    (0..looks).map(|_| standby.advise(view)).last().unwrap()
}

fn first_advice(view: &View<'_>) -> Advice {
    let mut standby = Standby::default();
    assert_eq!(
        advised(&mut standby, LOOKS - 1, view),
        Advice::Nothing,
        "one look is not enough"
    );
    standby.advise(view)
}

#[test]
fn times_become_shares_of_the_time_since_the_last_look() {
    let mut standby = Standby::default();
    let times = |ran_ns, waited_ns| Times { ran_ns, waited_ns };
    standby.measure(10 * MS, times(3 * MS, MS));
    let measured = standby.measure(50 * MS, times(23 * MS, 11 * MS));
    assert_eq!(measured, share(512, 256));
    // What was spun may be known a little late, and a clock be read twice in a tick.
    let measured = standby.measure(50 * MS, times(22 * MS, 12 * MS));
    assert_eq!(measured, share(0, WHOLE));
}

#[test]
fn of_two_that_wait_and_would_fit_on_one_core_who_waits_more_stands_by() {
    let others = [colleague(share(500, 250))];
    assert_eq!(
        first_advice(&view(share(530, 260), &others)),
        Advice::StandBy
    );
    assert_eq!(
        first_advice(&view(share(530, 240), &others)),
        Advice::Nothing
    );
}

#[test]
fn shards_that_need_their_cores_keep_them() {
    // As when somebody computes on one of two cores and the server has much to do.
    let others = [colleague(share(680, 340))];
    let advice = first_advice(&view(share(690, 334), &others));
    assert_eq!(advice, Advice::Nothing);
    // Of sixteen, one has to share its core.
    let others = [colleague(share(990, 0)); 15];
    let advice = first_advice(&view(share(500, 500), &others));
    assert_eq!(advice, Advice::StandBy);
    let others = [colleague(share(1024, 0)); 15];
    let advice = first_advice(&view(share(512, 512), &others));
    assert_eq!(advice, Advice::Nothing);
}

#[test]
fn who_waits_little_or_is_alone_stays() {
    let others = [colleague(share(500, 20))];
    assert_eq!(
        first_advice(&view(share(500, 100), &others)),
        Advice::Nothing
    );
    assert_eq!(first_advice(&view(share(500, 500), &[])), Advice::Nothing);
}

#[test]
fn nobody_stands_by_while_the_last_change_settles_or_places_are_short() {
    let others = [colleague(share(500, 20))];
    let waiting = view(share(500, 300), &others);
    let settling = View {
        may_stand_by: false,
        ..waiting
    };
    assert_eq!(first_advice(&settling), Advice::Nothing);
    let crowded = View {
        connections: 500,
        ..waiting
    };
    assert_eq!(first_advice(&crowded), Advice::Nothing);
}

#[test]
fn who_has_not_told_is_asked_before_anything_is_decided() {
    let silent = Colleague {
        share: None,
        ..colleague(share(0, 0))
    };
    assert_eq!(first_advice(&view(share(500, 300), &[silent])), Advice::Ask);
    assert_eq!(first_advice(&view(share(1024, 0), &[silent])), Advice::Ask);
}

#[test]
fn who_has_no_time_left_gives_half_of_what_it_has_more_to_do() {
    let others = [colleague(share(900, 0)), colleague(share(250, 6))];
    let full = View {
        connections: 64,
        ..view(share(1024, 0), &others)
    };
    let mut standby = Standby::default();
    let advice = advised(&mut standby, LOOKS, &full);
    let give = Advice::Give {
        to: 7,
        connections: 24,
    };
    assert_eq!(advice, give);
    // What became of that is to be seen first.
    assert_eq!(advised(&mut standby, 2 * LOOKS, &full), Advice::Nothing);
    let later = View {
        now_ns: full.now_ns + GIVEN_NS,
        ..full
    };
    assert_eq!(standby.advise(&later), give);
    // One connection is not halved, and near enough is even.
    let one = View {
        connections: 1,
        ..full
    };
    assert_eq!(first_advice(&one), Advice::Nothing);
    let others = [colleague(share(800, 0))];
    assert_eq!(
        first_advice(&view(share(1024, 0), &others)),
        Advice::Nothing
    );
}

#[test]
fn who_has_no_time_left_looks_for_a_core_and_who_waits_calls_back() {
    let alone = |own| View {
        is_any_standing_by: true,
        ..view(own, &[])
    };
    assert_eq!(first_advice(&alone(share(1000, 20))), Advice::LookForCore);
    assert_eq!(first_advice(&alone(share(700, 20))), Advice::Nothing);
    let (mut standby, waits) = (Standby::default(), alone(share(600, 424)));
    let advice = advised(&mut standby, LOOKS_IN_VAIN - 1, &waits);
    assert_eq!(advice, Advice::Nothing);
    assert_eq!(standby.advise(&waits), Advice::Recall(Recall::InVain));
    // It waits, and less than before, or has time for that.
    let mut standby = Standby::default();
    let advice = advised(&mut standby, 3 * LOOKS_IN_VAIN, &alone(share(700, 324)));
    assert_eq!(advice, Advice::Nothing);
    assert_eq!(first_advice(&alone(share(300, 200))), Advice::Nothing);
}

#[test]
fn who_runs_out_of_places_calls_back_at_once() {
    let crowded = View {
        is_any_standing_by: true,
        connections: 501,
        ..view(share(10, 0), &[])
    };
    let advice = Standby::default().advise(&crowded);
    assert_eq!(advice, Advice::Recall(Recall::Crowded));
}

#[test]
fn a_core_is_free_that_was_idle_for_a_while() {
    // Two cores, of which so much of one is idle, in hundredths.
    let is_found = |idle: u64| {
        let mut standby = Standby::default();
        let ticks = |tick: u64| {
            Some(CoreTicks {
                cores: 2,
                idle: 1000 + tick * idle,
                all: 9000 + tick * 200,
            })
        };
        let looks = 0..=6;
        let found: Vec<_> = looks
            .map(|look| standby.finds_core(look * IDLE_NS / 6, ticks(look)))
            .collect();
        assert!(!found[..6].contains(&true), "{found:?}");
        found[6]
    };
    assert!(is_found(60));
    assert!(!is_found(40));
    let mut standby = Standby::default();
    assert!(!standby.finds_core(0, None));
    let idle = |all| {
        Some(CoreTicks {
            cores: 1,
            idle: all,
            all,
        })
    };
    assert!(!standby.finds_core(0, idle(5)));
    assert!(
        !standby.finds_core(IDLE_NS_MAX, idle(500)),
        "too long ago to be compared with"
    );
    assert!(standby.finds_core(IDLE_NS_MAX + IDLE_NS, idle(800)));
}
