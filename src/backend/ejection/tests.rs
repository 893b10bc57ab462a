//! Every way in and out, event by event.

use super::*;

const CAUSE: Cause = Cause::Failures { row: 5, last: Failure::Timeout };

/// Ten seconds, up to a minute.
fn rules() -> Rules {
    Rules { base_time: Duration::from_secs(10), max_time: Duration::from_secs(60), ..Rules::default() }
}

fn slow() -> Cause {
    let ms = Duration::from_millis;
    Cause::Latency { p90: ms(61), median: ms(5), limit: ms(15) }
}

/// For how many seconds, if that is what happened.
fn seconds(change: Option<Change>) -> Option<u64> {
    match change? {
        Change::Ejected { time, .. } => Some(time.as_secs()),
        _ => None,
    }
}

/// Eject it, and again at each trial, without a pause.
fn failing_on(mut ejection: Ejection, mut now: u64, times: usize) -> (Ejection, u64, Vec<u64>) {
    let mut lengths = Vec::new();
    for _ in 0..times {
        let change = match ejection.active() {
            false => ejection.eject(CAUSE, now, &rules()),
            true => ejection.tried(Err(Failure::Timeout), None, now, &rules()),
        };
        lengths.push(seconds(change).unwrap());
        now += lengths.last().unwrap() * 1000;
        assert!(!ejection.advance(now - 1) && ejection.out(), "not before its time");
        assert!(ejection.advance(now) && !ejection.out() && ejection.active());
        assert!(!ejection.advance(now), "once");
    }
    (ejection, now, lengths)
}

#[test]
fn each_ejection_lasts_longer_up_to_the_maximum() {
    let (_, _, lengths) = failing_on(Ejection::NONE, 0, 9);
    assert_eq!(lengths, [10, 20, 30, 40, 50, 60, 60, 60, 60]);
}

#[test]
fn half_is_forgotten_for_each_longest_time_that_it_is_well() {
    let again = |well_for: u64| {
        let (mut ejection, now, _) = failing_on(Ejection::NONE, 0, 4);
        assert_eq!(ejection.tried(Ok(Duration::ZERO), None, now, &rules()), Some(Change::Readmitted));
        seconds(ejection.eject(CAUSE, now + well_for * 1000, &rules())).unwrap()
    };
    assert_eq!([0, 59, 60, 119, 120, 180, 86_400].map(again), [50, 50, 30, 30, 20, 10, 10]);
    // However long it was as bad as can be, what is remembered has an end.
    let (mut ejection, now, _) = failing_on(Ejection::NONE, 0, 1000);
    ejection.tried(Ok(Duration::ZERO), None, now, &rules());
    assert_eq!(seconds(ejection.eject(CAUSE, now + 180_000, &rules())), Some(10));
}

#[test]
fn one_request_decides_a_trial() {
    let (mut ejection, now, _) = failing_on(Ejection::NONE, 0, 1);
    assert_eq!(ejection.eject(CAUSE, now, &rules()), None, "who is on trial is ejected by the trial alone");
    let mut failed = ejection;
    let change = failed.tried(Err(Failure::Connect), None, now, &rules());
    let cause = Cause::TrialFailed(Failure::Connect);
    assert_eq!(change, Some(Change::Ejected { time: Duration::from_secs(20), cause }));
    assert_eq!(ejection.tried(Ok(Duration::MAX), None, now, &rules()), Some(Change::Readmitted));
    assert!(!ejection.active());
    assert_eq!(ejection.tried(Err(Failure::Connect), None, now, &rules()), None, "it was over");
}

#[test]
fn who_was_slow_must_be_quick_in_its_trial() {
    let ms = Duration::from_millis;
    let tried = |took, pace: Option<u64>| {
        let mut ejection = Ejection::NONE;
        ejection.eject(slow(), 0, &rules());
        ejection.advance(10_000);
        ejection.tried(Ok(ms(took)), pace.map(ms), 10_000, &rules()).unwrap()
    };
    assert_eq!(tried(15, None), Change::Readmitted);
    let cause = Cause::TrialSlow { took: ms(16), limit: ms(15) };
    assert_eq!(tried(16, Some(3)), Change::Ejected { time: Duration::from_secs(20), cause });
    assert_eq!(tried(16, Some(20)), Change::Readmitted, "the whole pool has become slower");
}

/// Every sequence of seven events against the definition: what is out comes back by time and then a success, or because
/// it is needed, and in no other way.
#[test]
fn every_short_sequence_follows_the_definition() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Model {
        In,
        Out,
        Trial,
    }
    for sequence in 0..5u32.pow(7) {
        let (mut ejection, mut model, mut now, mut rest) = (Ejection::NONE, Model::In, 0, sequence);
        for _ in 0..7 {
            let event = rest % 5;
            rest /= 5;
            now += 1_000;
            let was = model;
            let changed = match event {
                0 => ejection.eject(CAUSE, now, &rules()).is_some(),
                1 => {
                    now += 60_000;
                    ejection.advance(now)
                }
                2 => ejection.tried(Ok(Duration::ZERO), None, now, &rules()).is_some(),
                3 => ejection.tried(Err(Failure::Status), None, now, &rules()).is_some(),
                _ => ejection.reinstate(now),
            };
            model = match (event, model) {
                (0, Model::In) | (3, Model::Trial) => Model::Out,
                (1, Model::Out) => Model::Trial,
                (2, Model::Trial) | (4, _) => Model::In,
                (_, same) => same,
            };
            assert_eq!((ejection.out(), ejection.active()), (model == Model::Out, model != Model::In));
            assert_eq!(changed, was != model || (event == 3 && was == Model::Trial), "{event} in {was:?}");
            assert_eq!(ejection.reason(now).is_some(), ejection.active());
        }
    }
}

/// Well for a while and ill for a while, for a day: however often it flaps, the ejections are few.
#[test]
fn flapping_is_bounded() {
    for period in [1_000, 5_000, 15_000, 40_000, 100_000] {
        let (mut ejection, mut count) = (Ejection::NONE, 0);
        for now in (0..86_400_000).step_by(1_000) {
            ejection.advance(now);
            let ill = now / period % 2 == 1;
            let result = if ill { Err(Failure::Gateway) } else { Ok(Duration::ZERO) };
            let tried = ejection.tried(result, None, now, &rules());
            let ejected = if ill { ejection.eject(CAUSE, now, &rules()) } else { None };
            count += u64::from(seconds(tried).or(seconds(ejected)).is_some());
        }
        // A day has 1440 times the longest ejection; forgetting and the short ones at first add some.
        assert!(count <= 1440 * 5 / 4, "{count} with a period of {period} ms");
    }
}

#[test]
fn says_why_and_for_how_long() {
    let (mut ejection, now) = (Ejection::NONE, 1_000);
    assert_eq!(ejection.reason(now), None);
    ejection.eject(CAUSE, now, &rules());
    let reason = ejection.reason(now + 2_001).unwrap();
    assert_eq!(reason, "5 failures in a row, the last: timeout; for another 8s");
    ejection.advance(now + 10_000);
    let reason = ejection.reason(now + 10_000).unwrap();
    assert!(reason.ends_with("; on trial, one request at a time until one succeeds"), "{reason}");
}

#[test]
fn who_hangs_on_trial_is_out_again_when_somebody_has_waited_long() {
    let on_trial = || {
        let mut ejection = Ejection::NONE;
        ejection.eject(CAUSE, 0, &rules());
        assert!(ejection.advance(10_000));
        ejection
    };
    let gave_up = |after: u64, patience: u64| {
        let mut ejection = on_trial();
        let (after, patience) = (Duration::from_millis(after), Duration::from_millis(patience));
        let change = ejection.given_up(after, patience, 10_000, &rules());
        (seconds(change), ejection.out())
    };
    assert_eq!(gave_up(1000, 1000), (None, false), "clients leave for reasons of their own");
    assert_eq!(gave_up(1001, 1000), (Some(20), true));
    assert_eq!(Ejection::NONE.clone().given_up(Duration::MAX, Duration::ZERO, 0, &rules()), None);
}
