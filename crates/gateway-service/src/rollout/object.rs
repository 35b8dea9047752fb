//! The rollout object of one release: loads, calls the core, stores and acts.
//!
//! Every ten seconds its alarm folds the event store's closed minutes into the controller. A hard
//! failure or an operator's command reaches the object directly. Every input that changes the
//! release becomes an entry of the history before its actions run.

mod alerts;

mod advance;

mod store;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::messages::{ChangeOutcome, ReleaseSnapshot, RolloutRequest, StatusResponse};
use crate::event_store;
use crate::host::ObjectHost;
use crate::message::{ObjectReply, decode_message};
use crate::sql::StorageResult;
use jeffrey_edge::gateway::api::error::ApiError;
use jeffrey_edge::gateway::api::rollout::{CommandName, RolloutCommand};
use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_edge::rollout::advance_checks::AdvanceBlocked;
use jeffrey_edge::rollout::bucket::bucket_salt_name;
use jeffrey_edge::rollout::controller::RolloutController;
use jeffrey_edge::rollout::effect::{RolloutAction, RolloutAlert};
use jeffrey_edge::rollout::hard_failure_report::{HardFailureReport, stops_release};
use jeffrey_edge::rollout::history::{HistoryEntry, RolloutInput};
use jeffrey_edge::rollout::phase::Phase;
use jeffrey_edge::rollout::plan::{DEFAULT_PLAN_TOML, Plan};
use jeffrey_edge::rollout::plan_change::validate_plan_change;
use jeffrey_edge::rollout::refusal::explain_refusal;
use jeffrey_edge::rollout::release_state::{
    HardFailure, ReleaseChange, ReleaseChangeError, ReleaseState,
};
use jeffrey_edge::rollout::status::build_status;
use jeffrey_terms::{Share, UnixMs};

/// Interval between two ticks, in milliseconds; a scaled-time rollout's time scale shortens it.
const TICK_MS: u64 = 10_000;

/// Shortest interval between two ticks, in milliseconds.
const TICK_MS_MIN: u64 = 500;

/// Largest number of pages that one tick reads: 12 pages of 120 minutes are a day.
const PAGES_MAX: usize = 12;

/// A plan, and the controller of the release that it moves.
struct PlannedRelease {
    plan: Rc<Plan>,
    controller: RolloutController,
}

impl PlannedRelease {
    fn is_live(&self) -> bool {
        self.controller.has_canary_traffic(&self.plan)
    }
}

/// Rollout object: holds one release in its own SQLite.
pub struct RolloutObject<H> {
    host: H,
    settings: Rc<GatewaySettings>,
    /// Whether the tables are known to exist.
    is_prepared: Cell<bool>,
    /// Cache of the stored plan and controller: isolates ask for them every few seconds.
    planned_release: RefCell<Option<Rc<PlannedRelease>>>,
    /// Stable's p95 in milliseconds. Not stored: after a restart it is missing until the next
    /// minute's value.
    stable_p95_ms: Cell<Option<f64>>,
}

impl<H: ObjectHost> RolloutObject<H> {
    /// Creates the object on its host, after a start or a restart of the platform.
    pub fn new(host: H) -> Self {
        let settings = host.settings();
        Self {
            host,
            settings,
            is_prepared: Cell::new(false),
            planned_release: RefCell::new(None),
            stable_p95_ms: Cell::new(None),
        }
    }

    /// Replies to an encoded message.
    ///
    /// # Errors
    /// Returns the storage's error; the sender then reports the object as away.
    pub async fn reply_to(&self, message: &[u8]) -> StorageResult<ObjectReply> {
        let Some((request, _)) = decode_message::<RolloutRequest>(message) else {
            return Ok(ObjectReply::unsupported());
        };
        self.create_tables()?;
        Ok(match request {
            RolloutRequest::Snapshot => {
                // Isolates ask every few seconds, so a lost alarm is set again as soon.
                self.ensure_alarm().await?;
                ObjectReply::json(&self.snapshot()?)
            }
            RolloutRequest::Status => ObjectReply::json(&self.status()?),
            RolloutRequest::StableP95 { p95_ms } => {
                self.stable_p95_ms.set(Some(p95_ms).filter(|p95_ms| p95_ms.is_finite()));
                ObjectReply::json(&())
            }
            RolloutRequest::History { since, limit } => {
                ObjectReply::from_bytes(self.history_lines(since, limit)?.into_bytes())
            }
            RolloutRequest::HardFailure(report) => {
                self.on_hard_failure(&report)?;
                self.ensure_alarm().await?;
                ObjectReply::json(&())
            }
            RolloutRequest::ManualChange(change) => {
                let result = self.apply_change(&change)?;
                ObjectReply::json(&self.change_outcome(result)?)
            }
            RolloutRequest::Validation(validation) => {
                self.store_validation(&validation)?;
                let is_live = self.planned_release()?.is_some_and(|release| release.is_live());
                if !is_live {
                    self.accept_validated_model()?;
                }
                ObjectReply::json(&validation)
            }
            RolloutRequest::TestAlert => ObjectReply::json(&self.send_test_alert().await?),
            RolloutRequest::Wake => {
                self.ensure_alarm().await?;
                ObjectReply::json(&())
            }
            RolloutRequest::Command(command) => {
                let result = self.on_command(&command).await?;
                self.ensure_alarm().await?;
                ObjectReply::json(&self.change_outcome(result)?)
            }
        })
    }

    /// Folds closed minutes, lets the controller act on the time, and delivers alerts.
    ///
    /// # Errors
    /// Returns the storage's error; the platform then calls the alarm again.
    pub async fn on_alarm(&self) -> StorageResult<()> {
        self.create_tables()?;
        let Some(planned) = self.planned_release()? else { return Ok(()) };
        // Set first, so that the next tick comes even if something below fails.
        if planned.is_live() || self.has_pending_alerts()? {
            self.host.set_alarm(self.tick_interval_ms()).await?;
        }
        if let Err(error) = self.on_tick().await {
            self.host.log_error(&format!("the rollout could not fold its minutes: {error}"));
        }
        self.deliver_notifications()
    }

    fn change_outcome(&self, result: Result<(), ApiError>) -> StorageResult<ChangeOutcome> {
        Ok(match result {
            Ok(()) => ChangeOutcome::Applied(Box::new(self.status()?)),
            Err(error) => ChangeOutcome::rejected(&error),
        })
    }

    fn tick_interval_ms(&self) -> u64 {
        (TICK_MS / self.settings.time_scale.factor()).max(TICK_MS_MIN)
    }

    /// Returns the scaled time, which stages are counted by, and the last closed minute.
    fn scaled_time(&self) -> (UnixMs, u64) {
        let (time_scale, now) = (self.settings.time_scale, self.host.now());
        (time_scale.scaled_time(now), time_scale.first_open_minute(now).saturating_sub(1))
    }

    fn snapshot(&self) -> StorageResult<ReleaseSnapshot> {
        let planned_release = self.planned_release()?;
        let planned_release = planned_release.as_deref();
        let active_release = planned_release.filter(|planned_release| planned_release.is_live());
        Ok(ReleaseSnapshot {
            release_state: self.release_state()?,
            holdout: planned_release
                .map_or(Share::NONE, |planned_release| planned_release.plan.holdout),
            rolled_back: planned_release.is_some_and(|planned_release| {
                matches!(planned_release.controller.state.phase, Phase::RolledBack { .. })
            }),
            stage: active_release.and_then(|planned_release| {
                u32::try_from(planned_release.controller.state.stage).ok()
            }),
            stable_p95_ms: self.stable_p95_ms.get(),
            model_sha256: self.validated_model()?,
            bucket_salt: self.bucket_salt_name()?,
        })
    }

    /// Returns the name of the salt that this release draws by: the one that the gateway had when the
    /// release got its first share. It never changes afterwards, because another salt would move subjects
    /// from one cohort to the other.
    fn bucket_salt_name(&self) -> StorageResult<Option<String>> {
        let stored = self.stored_bucket_salt()?;
        if stored.is_some() || self.release_state()?.share == Share::NONE {
            return Ok(stored);
        }
        let name = bucket_salt_name(self.settings.bucket_salt.as_ref());
        self.store_bucket_salt(&name)?;
        Ok(Some(name))
    }

    fn status(&self) -> StorageResult<StatusResponse> {
        let status = match self.planned_release()? {
            Some(planned_release) => {
                let times = self.settings.time_scale.factor();
                Some(build_status(
                    &planned_release.controller,
                    &planned_release.plan,
                    self.validation()?,
                    times,
                    self.scaled_time(),
                ))
            }
            None => None,
        };
        Ok(StatusResponse { snapshot: self.snapshot()?, status })
    }

    /// Applies a manual change: to the share while no plan moves it, and to the kill switch at any
    /// time.
    fn apply_change(&self, change: &ReleaseChange) -> StorageResult<Result<(), ApiError>> {
        let is_share_planned =
            self.planned_release()?.is_some_and(|planned_release| planned_release.is_live());
        if is_share_planned && change.share.is_some() {
            return Ok(Err(ApiError::Change(ReleaseChangeError::PlanActive)));
        }
        Ok(match self.release_state()?.apply_change(change, self.host.now()) {
            Ok(next_state) => {
                self.store_release_state(&next_state)?;
                Ok(())
            }
            Err(error) => Err(ApiError::Change(error)),
        })
    }

    /// Runs `work` as one transaction. If it fails, neither the database nor the cached plan and
    /// controller have changed.
    fn atomically<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T> {
        let cached = self.planned_release.borrow().clone();
        let result = self.host.transaction(work);
        if result.is_err() {
            *self.planned_release.borrow_mut() = cached;
        }
        result
    }

    /// Records a report, unless it is known, and acts on it if it stops the release.
    fn on_hard_failure(&self, report: &HardFailureReport) -> StorageResult<()> {
        let (now, last_complete_minute) = self.scaled_time();
        let HardFailure { kind, .. } = report.failure;
        self.atomically(|| {
            let earlier = self.waiting_traps()?;
            if !self.store_report(report)? || !stops_release(report, &earlier) {
                return Ok(());
            }
            self.clear_waiting_traps()?;
            self.store_release_state(&self.release_state()?.record_hard_failure(report.failure))?;
            self.apply_input(&RolloutInput::HardFailure { kind, last_complete_minute }, now)?;
            Ok(())
        })?;
        self.deliver_notifications()
    }

    /// Applies an operator's command. The checks before a share increase are awaited first; nothing
    /// is awaited after them.
    async fn on_command(
        &self,
        rollout_command: &RolloutCommand,
    ) -> StorageResult<Result<(), ApiError>> {
        let requested_plan = match self.check_command(rollout_command)? {
            Ok(requested_plan) => requested_plan,
            Err(error) => return Ok(Err(error)),
        };
        let blocked_by = match rollout_command.command {
            CommandName::Abort
            | CommandName::Pause
            | CommandName::ApplyPlan
            | CommandName::Rollback => None,
            CommandName::Advance
            | CommandName::Approve
            | CommandName::Resume
            | CommandName::Start => {
                let plan = requested_plan.as_ref().map(|(_, plan)| plan);
                self.advance_blocked_by(plan).await?
            }
        };
        let times = self.scaled_time();
        let result = self.atomically(|| {
            // Checked again: another input may have come during the checks.
            match self.check_command(rollout_command)? {
                Ok(Some((text, plan))) => {
                    self.apply_plan(&rollout_command.actor, text, plan, times)?;
                }
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            let result = self.apply_command(rollout_command, blocked_by.as_ref(), times)?;
            if result.is_ok()
                && matches!(rollout_command.command, CommandName::Resume | CommandName::Start)
            {
                self.accept_validated_model()?;
            }
            Ok(result)
        })?;
        self.deliver_notifications()?;
        Ok(result)
    }

    /// Applies a command to the current plan; a refused command is an entry of the history too.
    fn apply_command(
        &self,
        rollout_command: &RolloutCommand,
        blocked_by: Option<&AdvanceBlocked>,
        (now, last_complete_minute): (UnixMs, u64),
    ) -> StorageResult<Result<(), ApiError>> {
        let Some(command) = rollout_command.to_operator_command() else { return Ok(Ok(())) };
        let previous = self.planned_release()?;
        let input = RolloutInput::Command {
            actor: rollout_command.actor.clone(),
            command: command.clone(),
            blocked_by: blocked_by.cloned(),
            last_complete_minute,
        };
        let entry = self.apply_input(&input, now)?;
        let is_refused = |action: &RolloutAction| {
            matches!(action, RolloutAction::Alert(RolloutAlert::CommandRefused(_)))
        };
        if entry.is_some_and(|entry| !entry.actions.iter().any(is_refused)) {
            return Ok(Ok(()));
        }
        let why = match previous {
            Some(planned_release) => explain_refusal(
                &planned_release.controller,
                &planned_release.plan,
                &command,
                blocked_by,
                (now, last_complete_minute),
            ),
            None => "no active plan: run `jeffrey rollout start`".to_owned(),
        };
        Ok(Err(ApiError::CommandRejected { why }))
    }

    /// Checks a command's version, and returns the plan that it brings.
    fn check_command(
        &self,
        rollout_command: &RolloutCommand,
    ) -> StorageResult<Result<Option<(String, Plan)>, ApiError>> {
        match self.release_state()?.check_version(rollout_command.version) {
            Ok(()) => self.requested_plan(rollout_command),
            Err(conflict) => Ok(Err(ApiError::Change(conflict))),
        }
    }

    /// Returns the plan that a command brings, checked, with its text; `None` if the current plan
    /// stays. A `start` without a plan keeps the current plan, or brings the shipped one if there is
    /// no plan yet.
    fn requested_plan(
        &self,
        rollout_command: &RolloutCommand,
    ) -> StorageResult<Result<Option<(String, Plan)>, ApiError>> {
        let refused = |why: String| Ok(Err(ApiError::CommandRejected { why }));
        let planned_release = self.planned_release()?;
        let text = match (&rollout_command.plan, rollout_command.command, &planned_release) {
            (Some(text), CommandName::ApplyPlan | CommandName::Start | CommandName::Resume, _) => {
                text.clone()
            }
            (None, CommandName::Start, None) => DEFAULT_PLAN_TOML.to_owned(),
            (Some(_), ..) => {
                return refused("a plan comes with `start`, `resume` or `apply_plan`".to_owned());
            }
            (None, CommandName::ApplyPlan, _) => {
                return refused("`apply_plan` needs a plan".to_owned());
            }
            (None, ..) => return Ok(Ok(None)),
        };
        let current = planned_release
            .as_ref()
            .map(|planned_release| (&planned_release.controller, &*planned_release.plan));
        let GatewaySettings { release, holdout, .. } = &*self.settings;
        match validate_plan_change(current, &text, release, *holdout) {
            Ok(plan) => Ok(Ok(Some((text, plan)))),
            Err(error) => refused(error.to_string()),
        }
    }

    /// Puts a checked plan in place of the current one.
    fn apply_plan(
        &self,
        actor: &str,
        text: String,
        plan: Plan,
        (now, last_complete_minute): (UnixMs, u64),
    ) -> StorageResult<()> {
        self.store_plan(&text)?;
        let input =
            RolloutInput::PlanApplied { actor: actor.to_owned(), plan: text, last_complete_minute };
        let (next_controller, entry) = match self.planned_release()? {
            Some(planned_release) => planned_release.controller.apply(&plan, &input, now),
            None => RolloutController::new(&plan, now, 0).apply(&plan, &input, now),
        };
        self.store_controller(PlannedRelease { plan: Rc::new(plan), controller: next_controller })?;
        match entry {
            Some(entry) => self.append_history(&entry),
            None => Ok(()),
        }
    }

    /// Folds the minutes that were closed since the last tick, and lets the controller act on the
    /// time.
    async fn on_tick(&self) -> StorageResult<()> {
        for _ in 0..PAGES_MAX {
            let Some(planned_release) =
                self.planned_release()?.filter(|planned_release| planned_release.is_live())
            else {
                return Ok(());
            };
            let after = planned_release.controller.last_minute;
            let minutes =
                event_store::fetch_minutes(&self.host, &self.settings.release, after).await;
            // Without the event store there is no minute to fold; the controller still notices that
            // minutes are missing.
            let minutes = minutes.unwrap_or_default();
            let (now, _) = self.scaled_time();
            if minutes.is_empty() {
                break;
            }
            for minute in minutes {
                let input = RolloutInput::Minute { minute: Box::new(minute) };
                self.atomically(|| self.apply_input(&input, now))?;
            }
        }
        let (now, last_complete_minute) = self.scaled_time();
        let Some(previous) = self.planned_release()? else { return Ok(()) };
        let will_advance =
            previous.controller.would_increase_share(&previous.plan, now, last_complete_minute);
        let blocked_by = if will_advance { self.advance_blocked_by(None).await? } else { None };
        let (now, last_complete_minute) = self.scaled_time();
        // An input that came during the checks changed what they were about: the next tick checks
        // again.
        if self.planned_release()?.is_some_and(|planned_release| {
            planned_release.controller.seq == previous.controller.seq
        }) {
            let input = RolloutInput::Tick { blocked_by, last_complete_minute };
            self.atomically(|| self.apply_input(&input, now))?;
        }
        Ok(())
    }

    /// Applies one input: stores the controller and the history entry, then runs the actions. The
    /// caller makes it one transaction: [`RolloutObject::atomically`].
    fn apply_input(
        &self,
        input: &RolloutInput,
        now: UnixMs,
    ) -> StorageResult<Option<HistoryEntry>> {
        let Some(planned_release) = self.planned_release()? else { return Ok(None) };
        let (next_controller, entry) =
            planned_release.controller.apply(&planned_release.plan, input, now);
        let Some(entry) = entry else { return Ok(None) };
        let active_alert = next_controller.active_alert.clone();
        self.store_controller(PlannedRelease {
            plan: Rc::clone(&planned_release.plan),
            controller: next_controller,
        })?;
        self.append_history(&entry)?;
        for action in &entry.actions {
            if let RolloutAction::SetShare(share) = action {
                self.store_release_state(
                    &self.release_state()?.apply_planned_share(*share, self.host.now()),
                )?;
            }
        }
        self.queue_notifications(&planned_release.plan, active_alert.as_ref(), &entry)?;
        Ok(Some(entry))
    }

    /// Makes sure that an alarm is set while canary traffic flows or an alert is pending.
    async fn ensure_alarm(&self) -> StorageResult<()> {
        let is_active =
            self.planned_release()?.is_some_and(|planned_release| planned_release.is_live());
        if (is_active || self.has_pending_alerts()?) && self.host.alarm().await?.is_none() {
            self.host.set_alarm(self.tick_interval_ms()).await?;
        }
        Ok(())
    }

    /// Returns the state of a release before its first change: the configured initial share.
    fn initial_state(&self) -> ReleaseState {
        ReleaseState::initial(self.settings.initial_share)
    }
}
