//! A release that gets worse after ten minutes, watched minute by minute until the evidence suffices.

use jeffrey_anytime::starts::Starts;
use jeffrey_anytime::{EVEN, Part, exp, ln, odds};

/// The chance of a false alarm in a day that is accepted.
const BUDGET: f64 = 0.01;

fn main() {
    let mut evidence = Starts::new();
    let (mut canary_all, mut stable_all) = (Part::default(), Part::default());
    println!("minute  canary      stable      e-value (alarm at {:.0})", 1.0 / BUDGET);
    for minute in 1..=60_u64 {
        let errors = if minute <= 10 { 1 } else { 3 };
        let (canary, stable) = (Part::new(errors, 100), Part::new(9, 900));
        (canary_all, stable_all) = (canary_all.plus(canary), stable_all.plus(stable));
        evidence.fold(1.0 / 1_440.0, &odds::higher(canary, stable));
        let ln_e = evidence.ln_e(&EVEN);
        let rate = |part: Part| part.rate().map_or(0.0, |rate| 100.0 * rate);
        println!(
            "{minute:>6}  {:>5.2} %     {:>5.2} %     {:.2}",
            rate(canary_all),
            rate(stable_all),
            exp(ln_e)
        );
        if ln_e >= -ln(BUDGET) {
            println!("the canary is worse, at a budget of {BUDGET}");
            return;
        }
    }
    println!("no alarm within an hour");
}
