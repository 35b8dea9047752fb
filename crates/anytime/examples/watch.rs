//! Follows a release that gets worse after ten minutes, minute by minute, until the evidence
//! suffices.
//!
//! It prints the error rates so far and the e-value, and stops at the first alarm.

use jeffrey_anytime::change_point::ChangePointEProcess;
use jeffrey_anytime::{MIXTURE_WEIGHTS_EQUAL, Proportion, exp, ln, odds};

/// Accepted chance of a false alarm in one day.
const BUDGET: f64 = 0.01;

fn main() {
    let mut evidence = ChangePointEProcess::new();
    let (mut canary_total, mut stable_total) = (Proportion::default(), Proportion::default());
    println!("minute  canary      stable      e-value (alarm at {:.0})", 1.0 / BUDGET);
    for minute in 1..=60_u64 {
        let errors = if minute <= 10 { 1 } else { 3 };
        let (canary, stable) = (Proportion::new(errors, 100), Proportion::new(9, 900));
        (canary_total, stable_total) = (canary_total.merge(canary), stable_total.merge(stable));
        evidence.fold_block(1.0 / 1_440.0, &odds::ln_e_higher_odds(canary, stable));
        let ln_e = evidence.ln_e(&MIXTURE_WEIGHTS_EQUAL);
        let rate = |proportion: Proportion| proportion.rate().map_or(0.0, |rate| 100.0 * rate);
        println!(
            "{minute:>6}  {:>5.2} %     {:>5.2} %     {:.2}",
            rate(canary_total),
            rate(stable_total),
            exp(ln_e)
        );
        if ln_e >= -ln(BUDGET) {
            println!("the canary is worse, at a budget of {BUDGET}");
            return;
        }
    }
    println!("no alarm within an hour");
}
