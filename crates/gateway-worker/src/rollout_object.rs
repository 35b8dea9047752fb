//! The object of one release: loads, asks the core, stores, acts.
//!
//! Every ten seconds it looks at the ledger's closed minutes; a breach and a person's word reach it directly. All that
//! happens becomes an entry of its history before anything follows from it.

mod alerts;

mod rise;

mod store;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use worker::durable::State;
use worker::{
    DurableObject, Env, Method, Request, Response, Result, console_error, durable_object,
};

use super::rollout::{Ask, Shown, Told};
use super::{ledger, now, settings};
use jeffrey_edge::gate::intake::Head;
use jeffrey_edge::gate::own::{self, OwnError, Wish, Word};
use jeffrey_edge::gate::settings::Settings;
use jeffrey_edge::rollout::control::{Control, Entry, Input, refusal};
use jeffrey_edge::rollout::plan::{Plan, SHIPPED};
use jeffrey_edge::rollout::standing::{Breach, Change, ChangeError, Standing};
use jeffrey_edge::rollout::state::{Action, Alert, Phase};
use jeffrey_edge::rollout::view::view;
use jeffrey_terms::{Share, UnixMs};

/// How often the minutes are looked at; a rehearsal's pace shortens it.
const TICK_MS: u64 = 10_000;

/// As often at most.
const TICK_MS_MIN: u64 = 500;

/// Pages of minutes in one look: a day's.
const PAGES_MAX: usize = 12;

/// A release that a plan moves.
struct Planned {
    plan: Rc<Plan>,
    control: Control,
}

impl Planned {
    fn is_live(&self) -> bool {
        self.control.is_live(&self.plan)
    }
}

/// Holds one release in its own SQLite.
#[durable_object(alarm)]
pub struct RolloutObject {
    state: State,
    env: Env,
    settings: Settings,
    /// Whether the tables are known to be there.
    prepared: Cell<bool>,
    /// What is stored of plan and release, read; isolates ask for it all the time.
    planned: RefCell<Option<Rc<Planned>>>,
    /// Not stored: after a restart the next batch tells it again.
    stable_p95_ms: Cell<Option<f64>>,
}

impl DurableObject for RolloutObject {
    fn new(state: State, env: Env) -> Self {
        // Whether something names the old system is not asked here.
        let settings = settings(&env, true);
        Self {
            state,
            env,
            settings,
            prepared: Cell::new(false),
            planned: RefCell::new(None),
            stable_p95_ms: Cell::new(None),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        self.prepare()?;
        let body =
            if request.method() == Method::Post { request.bytes().await? } else { Vec::new() };
        let head = Head::new(String::new(), &request.inner().url(), Vec::new());
        let Some((head, ask)) = head.and_then(|head| Ask::of(head.path()).map(|ask| (head, ask)))
        else {
            return Response::error("no such question", 404);
        };
        match ask {
            Ask::Standing => {
                // Isolates ask every few seconds: a lost alarm is not missed for longer.
                self.wake().await?;
                Response::from_json(&self.told()?)
            }
            Ask::View => Response::from_json(&self.shown()?),
            Ask::StableP95 => {
                let told = std::str::from_utf8(&body).ok().and_then(|told| told.parse().ok());
                self.stable_p95_ms.set(told.filter(|p95: &f64| p95.is_finite()));
                Response::empty()
            }
            Ask::History => {
                let own::Page { since, limit, .. } = own::page(&head);
                Response::from_bytes(self.history(since, limit)?.into_bytes())
            }
            Ask::Breach => match serde_json::from_slice::<Breach>(&body) {
                Ok(breach) => {
                    self.breached(breach)?;
                    self.wake().await?;
                    Response::empty()
                }
                Err(_) => Response::error("no breach", 400),
            },
            Ask::Change => match serde_json::from_slice::<Change>(&body) {
                Ok(change) => self.reply(self.changed(&change)?),
                Err(_) => Response::error("no change", 400),
            },
            Ask::Validation => match own::validation(&body, now()) {
                Ok(validation) => {
                    self.store_validation(&validation)?;
                    Response::from_json(&validation)
                }
                Err(error) => refused(&error),
            },
            Ask::TestAlert => {
                let told = self.test_alert().await?;
                Response::from_json(&told)
            }
            Ask::Wake => {
                self.wake().await?;
                Response::empty()
            }
            Ask::Wish => match own::wish(&body) {
                Ok(wish) => {
                    let done = self.wished(&wish).await?;
                    self.wake().await?;
                    self.reply(done)
                }
                Err(error) => refused(&error),
            },
        }
    }

    async fn alarm(&self) -> Result<Response> {
        self.prepare()?;
        let Some(planned) = self.planned()? else { return Response::empty() };
        // First of all: whatever goes wrong below, there is a next time.
        if planned.is_live() || self.alerts_wait()? {
            self.state.storage().set_alarm(self.tick_ms()).await?;
        }
        if let Err(error) = self.tick().await {
            console_error!("the rollout could not look at its minutes: {}", error.to_string());
        }
        self.tell()?;
        Response::empty()
    }
}

fn refused(error: &OwnError) -> Result<Response> {
    let reply = error.reply();
    Ok(Response::from_bytes(reply.body)?.with_status(reply.status))
}

impl RolloutObject {
    fn reply(&self, done: std::result::Result<(), OwnError>) -> Result<Response> {
        match done {
            Ok(()) => Response::from_json(&self.shown()?),
            Err(error) => refused(&error),
        }
    }

    fn tick_ms(&self) -> i64 {
        (TICK_MS / self.settings.pace.times()).max(TICK_MS_MIN) as i64
    }

    /// The time that stages are counted by, and the last closed minute.
    fn time(&self) -> (UnixMs, u64) {
        let pace = self.settings.pace;
        (pace.at(now()), pace.open_from(now()).saturating_sub(1))
    }

    fn told(&self) -> Result<Told> {
        let planned = self.planned()?;
        let planned = planned.as_deref();
        let live = planned.filter(|of| of.is_live());
        Ok(Told {
            standing: self.standing()?,
            holdout: planned.map_or(Share::NONE, |of| of.plan.holdout),
            rolled_back: planned
                .is_some_and(|of| matches!(of.control.state.phase, Phase::RolledBack { .. })),
            stage: live.and_then(|of| u32::try_from(of.control.state.stage).ok()),
            stable_p95_ms: self.stable_p95_ms.get(),
        })
    }

    fn shown(&self) -> Result<Shown> {
        let view = match self.planned()? {
            Some(of) => {
                let times = self.settings.pace.times();
                Some(view(&of.control, &of.plan, self.validation()?, times, self.time()))
            }
            None => None,
        };
        Ok(Shown { told: self.told()?, view })
    }

    /// A change by hand: the share while no plan moves it, and the kill at any time.
    fn changed(&self, change: &Change) -> Result<std::result::Result<(), OwnError>> {
        let moves = self.planned()?.is_some_and(|of| of.is_live());
        if moves && change.share.is_some() {
            return Ok(Err(OwnError::Change(ChangeError::Planned)));
        }
        Ok(match self.standing()?.changed(change, now()) {
            Ok(next) => {
                self.store_standing(&next)?;
                Ok(())
            }
            Err(error) => Err(OwnError::Change(error)),
        })
    }

    fn breached(&self, breach: Breach) -> Result<()> {
        self.store_standing(&self.standing()?.reported(breach))?;
        let (now, closed) = self.time();
        let kind = breach.kind;
        self.feed(&Input::Breach { kind, closed }, now)?;
        self.tell()
    }

    /// What a person asks for. What it needs to be known is asked first; nothing is awaited after that.
    async fn wished(&self, wish: &Wish) -> Result<std::result::Result<(), OwnError>> {
        let withheld = match wish.command {
            Word::Abort | Word::Pause | Word::Plan | Word::Rollback => None,
            Word::Advance | Word::Approve | Word::Resume | Word::Start => self.withheld().await,
        };
        let (now, closed) = self.time();
        if let Err(error) = self.replanned(wish, (now, closed))? {
            return Ok(Err(error));
        }
        let Some(command) = wish.command() else {
            return self.tell().map(Ok);
        };
        let before = self.planned()?;
        let by = wish.by.clone();
        let asked =
            Input::Asked { by, command: command.clone(), withheld: withheld.clone(), closed };
        let entry = self.feed(&asked, now)?;
        let is_refused = |action: &Action| matches!(action, Action::Alert(Alert::Refused(_)));
        let done = entry.is_some_and(|entry| !entry.actions.iter().any(is_refused));
        self.tell()?;
        if done {
            return Ok(Ok(()));
        }
        let why = match before {
            Some(of) => refusal(&of.control, &of.plan, &command, withheld.as_ref(), (now, closed)),
            None => "no plan is in force: `jeffrey rollout start`".to_owned(),
        };
        Ok(Err(OwnError::NotDone { why }))
    }

    /// Puts a wish's plan into force; of a start without one the shipped plan, where none is.
    fn replanned(
        &self,
        wish: &Wish,
        (now, closed): (UnixMs, u64),
    ) -> Result<std::result::Result<(), OwnError>> {
        let planned = self.planned()?;
        let text = match (&wish.plan, wish.command, &planned) {
            (Some(text), Word::Plan | Word::Start | Word::Resume, _) => text.clone(),
            (None, Word::Start, None) => SHIPPED.to_owned(),
            (Some(_), ..) => {
                let why = "a plan comes with `start`, `resume` or `plan`".to_owned();
                return Ok(Err(OwnError::NotDone { why }));
            }
            (None, Word::Plan, _) => {
                return Ok(Err(OwnError::NotDone { why: "`plan` needs a plan".to_owned() }));
            }
            (None, ..) => return Ok(Ok(())),
        };
        let standing = planned.as_ref().map(|of| (&of.control, &*of.plan));
        let Settings { release, holdout, .. } = &self.settings;
        let plan = match Control::replan(standing, &text, release, *holdout) {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(OwnError::NotDone { why: error.to_string() })),
        };
        let what = Input::Planned { by: wish.by.clone(), plan: text.clone(), closed };
        let (next, entry) = match &planned {
            Some(of) => of.control.apply(&plan, &what, now),
            None => Control::new(&plan, now, 0).apply(&plan, &what, now),
        };
        self.store_plan(&text)?;
        self.store_control(Planned { plan: Rc::new(plan), control: next })?;
        if let Some(entry) = entry {
            self.record(&entry)?;
        }
        Ok(Ok(()))
    }

    /// Looks at the minutes that were closed since, and at the time.
    async fn tick(&self) -> Result<()> {
        for _ in 0..PAGES_MAX {
            let Some(of) = self.planned()?.filter(|of| of.is_live()) else { return Ok(()) };
            let after = of.control.after;
            let minutes = ledger::minutes(&self.env, &self.settings.release, after).await;
            // Nothing can be folded without the ledger; that nothing comes is seen all the same.
            let minutes = minutes.unwrap_or_default();
            let (now, _) = self.time();
            if minutes.is_empty() {
                break;
            }
            for minute in minutes {
                self.feed(&Input::Minute { minute: Box::new(minute) }, now)?;
            }
        }
        let (now, closed) = self.time();
        let Some(before) = self.planned()? else { return Ok(()) };
        let rises = before.control.would_rise(&before.plan, now, closed);
        let withheld = if rises { self.withheld().await } else { None };
        let (now, closed) = self.time();
        // Whoever came between while somebody was asked has changed what was asked about: the next look asks again.
        if self.planned()?.is_some_and(|of| of.control.seq == before.control.seq) {
            self.feed(&Input::Tick { withheld, closed }, now)?;
        }
        Ok(())
    }

    /// One input, and all that follows from it. Nothing is awaited in between.
    fn feed(&self, what: &Input, now: UnixMs) -> Result<Option<Entry>> {
        let Some(of) = self.planned()? else { return Ok(None) };
        let (next, entry) = of.control.apply(&of.plan, what, now);
        let Some(entry) = entry else { return Ok(None) };
        let told = next.told.clone();
        self.store_control(Planned { plan: Rc::clone(&of.plan), control: next })?;
        self.record(&entry)?;
        for action in &entry.actions {
            if let Action::SetShare(share) = action {
                self.store_standing(&self.standing()?.moved(*share, super::now()))?;
            }
        }
        self.notice(&of.plan, told.as_ref(), &entry)?;
        Ok(Some(entry))
    }

    /// Sees to it that an alarm comes, while there is something to look at.
    async fn wake(&self) -> Result<()> {
        let live = self.planned()?.is_some_and(|of| of.is_live());
        if (live || self.alerts_wait()?) && self.state.storage().get_alarm().await?.is_none() {
            self.state.storage().set_alarm(self.tick_ms()).await?;
        }
        Ok(())
    }

    /// The share of a release that nobody has touched.
    fn initial(&self) -> Standing {
        Standing::initial(self.settings.initial_share)
    }
}
