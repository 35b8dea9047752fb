//! Who answers a request, and by what: the gate's one decision, a function of its arguments.
//!
//! In this order: a request that the canary could not answer as well as the old system is never its
//! own: one whose body is not held could not be handed over if the model failed, one without a text is
//! the old system's to refuse, and what a foreign origin may see only the old system knows. A release that was killed or rolled back is closed,
//! except to a permission that says so. Then what was asked for by name: a signed override, a forced
//! subject. A caller without a subject has no place on the line and stays stable. Everybody else goes
//! where the bucket says. Only they count as evidence, and only if they will come back under the same
//! subject: the others were not drawn.

use super::bucket::{Assignment, Bucket, Release, assign};
use super::token::Permission;
use jeffrey_terms::{Cohort, Share, Subject};

/// The rules in force.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The release that subjects are drawn by.
    pub release: &'a Release,
    /// The canary's share.
    pub share: Share,
    /// The share that stays stable in every release.
    pub holdout: Share,
    /// Whether the release was killed or rolled back.
    pub closed: bool,
    /// Subjects that have a cohort whatever their bucket.
    pub forced: &'a [(Subject, Cohort)],
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who asks; `None` for a caller that gave no key and holds no cookie.
    pub subject: Option<&'a Subject>,
    /// The cohort asked for by header, with the verified permission to ask.
    pub wanted: Option<(Cohort, &'a Permission)>,
    /// Whether the subject came with the request. One that the gate has just made, for a cookie,
    /// may never be seen again.
    pub sticky: bool,
    /// Whether both could answer it.
    pub answerable: Answerable,
}

/// Whether the canary could answer a request as well as the old system, and hand it over if it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answerable {
    /// A browser asks from another origin, and only the old system knows what it lets that one see.
    ForeignOrigin,
    /// There is no text where one should be: the old system's to refuse.
    NoText,
    /// The body is streamed on, and cannot be had again.
    Streamed,
    /// The body is held, and has a text.
    Yes,
}

/// Who answers, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who answers.
    pub cohort: Cohort,
    /// By what.
    pub by: By,
    /// The subject's place for this release, if there is a subject.
    pub bucket: Option<Bucket>,
    /// Whether the request is evidence for or against the release: drawn, not chosen, and by a
    /// subject that lasts.
    pub counts: bool,
}

/// Why a request went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The bucket and the share.
    Bucket,
    /// The release was killed or rolled back.
    Closed,
    /// A list of subjects.
    Forced,
    /// A browser asks from an origin that only the old system knows.
    ForeignOrigin,
    /// The holdout, whatever the share.
    Holdout,
    /// No subject to draw by.
    NoSubject,
    /// No text to classify.
    NoText,
    /// A signed permission.
    Override,
    /// The body is streamed and cannot be had again.
    Streamed,
}

impl By {
    /// The name used in every event and answer.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bucket => "bucket",
            Self::Closed => "closed",
            Self::Forced => "forced",
            Self::ForeignOrigin => "foreign_origin",
            Self::Holdout => "holdout",
            Self::NoSubject => "no_subject",
            Self::NoText => "no_text",
            Self::Override => "override",
            Self::Streamed => "streamed",
        }
    }
}

/// Who answers this request.
pub fn decide(asked: &Asked<'_>, rules: &Rules<'_>) -> Decision {
    let assignment =
        asked.subject.map(|subject| assign(rules.release, subject, rules.share, rules.holdout));
    let bucket = assignment.map(|assignment| assignment.bucket);
    let decision = |cohort, by| {
        let drawn = matches!(by, By::Bucket | By::Holdout);
        Decision { cohort, by, bucket, counts: drawn && asked.sticky }
    };
    match asked.answerable {
        Answerable::ForeignOrigin => return decision(Cohort::Stable, By::ForeignOrigin),
        Answerable::NoText => return decision(Cohort::Stable, By::NoText),
        Answerable::Streamed => return decision(Cohort::Stable, By::Streamed),
        Answerable::Yes => {}
    }
    let wanted = asked.wanted.filter(|(_, by)| !rules.closed || by.allow_rolled_back);
    if let Some((cohort, _)) = wanted {
        return decision(cohort, By::Override);
    }
    if rules.closed {
        return decision(Cohort::Stable, By::Closed);
    }
    let (Some(subject), Some(assignment)) = (asked.subject, assignment) else {
        return decision(Cohort::Stable, By::NoSubject);
    };
    if let Some((_, cohort)) = rules.forced.iter().find(|(forced, _)| forced == subject) {
        return decision(*cohort, By::Forced);
    }
    let Assignment { cohort, held_out, .. } = assignment;
    decision(cohort, if held_out { By::Holdout } else { By::Bucket })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeffrey_terms::UnixMs;

    fn subject(name: &str) -> Subject {
        Subject::parse(name).unwrap()
    }

    fn permission(allow_rolled_back: bool) -> Permission {
        let release = Release::parse("e1").unwrap();
        Permission { release, expires: UnixMs(1), allow_rolled_back }
    }

    #[test]
    fn each_rule_comes_before_the_next() {
        use Cohort::{Canary, Stable};
        let release = Release::parse("e1").unwrap();
        let (anyone, forced) = (subject("anyone"), subject("forced"));
        let list = [(forced.clone(), Canary)];
        let (plain, reopening) = (permission(false), permission(true));
        let bucket = |name: &str| Some(Bucket::of(&release, &subject(name)));
        // share, holdout, closed; subject, wanted, answerable; expected
        let (all, none) = (Share::ALL, Share::NONE);
        let by_all = Some((Canary, &plain));
        let rows = [
            (all, none, false, Some(&anyone), None, Answerable::Yes, Canary, By::Bucket),
            (none, none, false, Some(&anyone), None, Answerable::Yes, Stable, By::Bucket),
            (all, all, false, Some(&anyone), None, Answerable::Yes, Stable, By::Holdout),
            (all, none, false, None, None, Answerable::Yes, Stable, By::NoSubject),
            (none, none, false, Some(&forced), None, Answerable::Yes, Canary, By::Forced),
            (none, all, false, Some(&forced), None, Answerable::Yes, Canary, By::Forced),
            (none, none, false, Some(&anyone), by_all, Answerable::Yes, Canary, By::Override),
            (all, none, false, None, Some((Stable, &plain)), Answerable::Yes, Stable, By::Override),
            (
                all,
                none,
                false,
                Some(&forced),
                Some((Stable, &plain)),
                Answerable::Yes,
                Stable,
                By::Override,
            ),
            (all, none, true, Some(&anyone), None, Answerable::Yes, Stable, By::Closed),
            (all, none, true, Some(&forced), None, Answerable::Yes, Stable, By::Closed),
            (all, none, true, Some(&anyone), by_all, Answerable::Yes, Stable, By::Closed),
            (
                none,
                none,
                true,
                None,
                Some((Canary, &reopening)),
                Answerable::Yes,
                Canary,
                By::Override,
            ),
            (all, none, false, Some(&anyone), by_all, Answerable::Streamed, Stable, By::Streamed),
            (all, none, true, Some(&forced), None, Answerable::Streamed, Stable, By::Streamed),
            (all, none, false, Some(&anyone), by_all, Answerable::NoText, Stable, By::NoText),
            (
                all,
                none,
                false,
                Some(&anyone),
                by_all,
                Answerable::ForeignOrigin,
                Stable,
                By::ForeignOrigin,
            ),
        ];
        for (number, row) in rows.into_iter().enumerate() {
            let (share, holdout, closed, subject, wanted, answerable, cohort, by) = row;
            let rules = Rules { release: &release, share, holdout, closed, forced: &list };
            let bucket = subject.and_then(|subject| bucket(subject.expose()));
            for sticky in [true, false] {
                let found = decide(&Asked { subject, wanted, sticky, answerable }, &rules);
                let counts = sticky && matches!(by, By::Bucket | By::Holdout);
                assert_eq!(found, Decision { cohort, by, bucket, counts }, "row {number}");
            }
        }
    }
}
