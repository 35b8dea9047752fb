//! The same sentences in French, for the page.

use super::when;
use crate::rollout::control::{Entry, Input};
use crate::rollout::permit::{Answer, Withheld, Word};
use crate::rollout::standing::BreachKind;
use crate::rollout::state::{Action, Alert, Cause, Command, Phase};
use crate::rollout::view::View;
use jeffrey_terms::{Share, UnixMs};

/// Where a release stands, in one line.
pub(super) fn line(release: &str, share: Share, killed: bool, view: Option<&View>) -> String {
    let share = percent(share);
    let killed = if killed { ", coupé" } else { "" };
    match view {
        None => format!("{release} à {share}{killed} : aucun plan n’est en vigueur"),
        Some(view) => {
            let (stage, stages) = (view.state.stage + 1, view.stages.len());
            let why = why(view).map_or(String::new(), |why| format!(" : {why}"));
            let phase = phase(&view.state.phase);
            format!("{release} à {share}{killed}, palier {stage} sur {stages}, {phase}{why}")
        }
    }
}

fn why(view: &View) -> Option<String> {
    match &view.state.phase {
        Phase::RolledBack { cause } => Some(of_cause(cause)),
        Phase::Paused { reason } | Phase::Aborted { reason } => Some(reason.clone()),
        _ => view.told.as_ref().and_then(told),
    }
}

/// What happened, as a clause.
pub(super) fn what(input: &Input) -> String {
    let who = |by: &str| if by.is_empty() { "quelqu’un".to_owned() } else { by.to_owned() };
    match input {
        Input::Asked { by, command, .. } => format!("{} a demandé : {}", who(by), asked(command)),
        Input::Breach { kind, .. } => format!("un isolat a vu : {}", breach(*kind)),
        Input::Minute { minute } => {
            format!("la minute {} a été comptée", when(UnixMs(minute.minute * 60_000)))
        }
        Input::Planned { by, .. } => format!("{} a apporté un plan", who(by)),
        Input::Tick { withheld: Some(of), .. } => {
            format!("ses minutes ont été regardées ; {}", withheld(of))
        }
        Input::Tick { .. } => "ses minutes ont été regardées".to_owned(),
    }
}

/// What followed, as a clause.
pub(super) fn then(entry: &Entry) -> String {
    let said = entry.actions.iter().filter_map(|action| match action {
        Action::Alert(Alert::Refused(command)) => Some(format!("refusé : {}", asked(command))),
        Action::Alert(alert) => told(alert),
        Action::SetShare(share) => Some(format!("la part est fixée à {}", percent(*share))),
        Action::EnterStage | Action::ForgetEvidence => None,
    });
    let said: Vec<String> = said.collect();
    match (said.is_empty(), &entry.state.phase) {
        (false, _) => said.join(" ; "),
        (true, Phase::Paused { reason }) => format!("suspendu : {reason}"),
        (true, of) => phase(of).to_owned(),
    }
}

fn told(alert: &Alert) -> Option<String> {
    Some(match alert {
        Alert::ApprovalWanted(true) => {
            "attend un accord : les portes n’ont pas pu décider à temps".to_owned()
        }
        Alert::ApprovalWanted(false) => {
            "attend un accord : les portes passent et le plan veut la parole d’une personne"
                .to_owned()
        }
        Alert::Held(findings) => {
            let open: Vec<&str> =
                findings.iter().map(|found| found.gate.as_str()).take(5).collect();
            if open.is_empty() {
                "retenu : le palier n’a pas eu les requêtes qu’il lui faut".to_owned()
            } else {
                format!("retenu : ne passent pas encore : {}", open.join(", "))
            }
        }
        Alert::NoData => {
            "retenu : aucune requête du canari n’a été comptée depuis quelques minutes".to_owned()
        }
        Alert::Refused(_) => return None,
        Alert::RolledBack(cause) => format!("retiré : {}", of_cause(cause)),
        Alert::StableBreached => {
            "retenu : l’ancien système est lui-même hors des limites que le plan lui donne"
                .to_owned()
        }
        Alert::Withheld(of) => format!("retenu : {}", withheld(of)),
    })
}

fn of_cause(cause: &Cause) -> String {
    match cause {
        Cause::Breach(kind) => {
            format!("le canari a fait ce qu’aucun ne doit faire une seule fois : {}", breach(*kind))
        }
        Cause::Gate(found) => {
            let number = |value: Option<f64>| {
                value.map_or("?".to_owned(), |value| format!("{value:.4}").replace('.', ","))
            };
            format!(
                "la porte « {} » échoue : {} pour une limite de {}, {} requêtes sur {}",
                found.gate,
                number(found.value),
                number(found.limit),
                found.hits,
                found.samples
            )
        }
        Cause::Person { reason } => format!("une personne : {reason}"),
    }
}

fn withheld(of: &Withheld) -> String {
    let short = |sha: &str| sha.chars().take(12).collect::<String>();
    match of {
        Withheld::Analysis => "les réponses du palier lui-même ne sont pas prêtes".to_owned(),
        Withheld::ModelUnknown => "le worker du modèle ne dit pas quel modèle il a".to_owned(),
        Withheld::Said(Word { name, answer: Answer::Stop }) => format!("« {name} » dit stop"),
        Withheld::Said(Word { name, .. }) => format!("« {name} » dit d’attendre, ou rien"),
        Withheld::ValidationFailed => "la vérification de ce modèle a échoué".to_owned(),
        Withheld::ValidationForeign { checked, deployed } => format!(
            "la vérification était celle du modèle {}, c’est {} qui est déployé",
            short(checked),
            short(deployed)
        ),
        Withheld::ValidationMissing => "il n’y a pas de vérification du modèle".to_owned(),
        Withheld::ValidationStale { hours } => {
            format!("la vérification date de {hours} heures, la limite est de 24")
        }
    }
}

const fn phase(of: &Phase) -> &'static str {
    match of {
        Phase::Aborted { .. } => "abandonné",
        Phase::AwaitingApproval { .. } => "en attente d’accord",
        Phase::Frozen => "gelé",
        Phase::Holding { .. } => "retenu",
        Phase::Idle => "pas commencé",
        Phase::Paused { .. } => "suspendu",
        Phase::Promoted => "promu",
        Phase::Ramping => "en montée",
        Phase::RolledBack { .. } => "retiré",
        Phase::Watching => "sous surveillance",
    }
}

const fn asked(command: &Command) -> &'static str {
    match command {
        Command::Abort { .. } => "abandonner",
        Command::Advance { .. } => "avancer",
        Command::Approve => "approuver",
        Command::Pause { .. } => "suspendre",
        Command::Resume { .. } => "reprendre",
        Command::RollBack { .. } => "revenir en arrière",
        Command::Start => "commencer",
    }
}

const fn breach(kind: BreachKind) -> &'static str {
    match kind {
        BreachKind::DimensionMismatch => "une dimension qui n’est pas celle de l’encodeur",
        BreachKind::NonFinite => "des scores non finis",
        BreachKind::Trap => "un modèle qui s’arrête net",
    }
}

fn percent(share: Share) -> String {
    let points = share.basis_points();
    format!("{},{:02} %", points / 100, points % 100)
}
