use serde::{Deserialize, Serialize};

/// A role of the organisation's programme. A person may hold several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the installation; reads no person's data.
    Administrator,
    /// Searches events, works the alert queue, reconstructs incidents.
    Analyst,
    /// Checks the record and reads the audit ledger.
    Auditor,
}

/// Something a person can ask Reeve for. The name is what stands in the audit ledger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Search, histogram, field values, SQL.
    SearchEvents,
    /// One event with its raw bytes.
    ReadEvent,
    /// The evidence state, verification or proof of a record; shows no content.
    CheckEvidence,
    /// The alert queue.
    ReadAlerts,
    /// Status or assignee of an alert.
    ChangeAlert,
    /// A stored incident.
    ReadIncidents,
    /// A new reconstruction.
    ReconstructIncident,
    /// Counters of the installation; no content.
    ReadStatus,
    /// Accounts and their roles.
    ManageAccounts,
    /// The registered sources: state, rate, problems, how many events of what kind; no content.
    ReadSources,
    /// Adding, disabling, enabling and retiring sources, and their tokens.
    ManageSources,
    /// Taking content out of the record: redaction, destruction. It takes two people.
    DisposeContent,
    /// Holds, which forbid that: adding, releasing, listing.
    HoldContent,
}

impl Action {
    /// Every action, in the order of the golden table.
    pub const ALL: [Action; 13] = [
        Action::SearchEvents,
        Action::ReadEvent,
        Action::CheckEvidence,
        Action::ReadAlerts,
        Action::ChangeAlert,
        Action::ReadIncidents,
        Action::ReconstructIncident,
        Action::ReadStatus,
        Action::ManageAccounts,
        Action::ReadSources,
        Action::ManageSources,
        Action::DisposeContent,
        Action::HoldContent,
    ];

    /// The name in the audit ledger.
    pub const fn name(self) -> &'static str {
        match self {
            Action::SearchEvents => "search_events",
            Action::ReadEvent => "read_event",
            Action::CheckEvidence => "check_evidence",
            Action::ReadAlerts => "read_alerts",
            Action::ChangeAlert => "change_alert",
            Action::ReadIncidents => "read_incidents",
            Action::ReconstructIncident => "reconstruct_incident",
            Action::ReadStatus => "read_status",
            Action::ManageAccounts => "manage_accounts",
            Action::ReadSources => "read_sources",
            Action::ManageSources => "manage_sources",
            Action::DisposeContent => "dispose_content",
            Action::HoldContent => "hold_content",
        }
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 3] = [Role::Administrator, Role::Analyst, Role::Auditor];

    /// The name in files and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Administrator => "administrator",
            Role::Analyst => "analyst",
            Role::Auditor => "auditor",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Whether a role allows an action. `cases/access/table.txt` is this function written out; a test holds the two together.
pub const fn allowed(role: Role, action: Action) -> bool {
    match role {
        Role::Administrator => matches!(
            action,
            Action::ReadStatus
                | Action::ManageAccounts
                | Action::ReadSources
                | Action::ManageSources
                | Action::CheckEvidence
                | Action::DisposeContent
                | Action::HoldContent
        ),
        Role::Analyst => !matches!(action, Action::ManageAccounts | Action::ManageSources | Action::DisposeContent),
        Role::Auditor => {
            matches!(
                action,
                Action::CheckEvidence | Action::ReadStatus | Action::ReadSources | Action::DisposeContent | Action::HoldContent
            )
        }
    }
}

/// Who is asking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Person {
    /// Account name, or `uid:N` of the operating system's user for a command on the data folder itself.
    pub name: String,
    /// What they may do.
    pub roles: Vec<Role>,
    /// How they came: `session` or `shell`.
    pub via: &'static str,
}

impl Person {
    /// Somebody with file access to the data folder. They could read the files anyway; the record of their reading is the point.
    pub fn at_shell(uid: u32) -> Self {
        Self { name: format!("uid:{uid}"), roles: vec![Role::Administrator, Role::Analyst], via: "shell" }
    }

    /// Whether any of their roles allows the action.
    pub fn may(&self, action: Action) -> bool {
        self.roles.iter().any(|role| allowed(*role, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_table() {
        let mut table = String::new();
        for action in Action::ALL {
            let who: Vec<_> = Role::ALL.into_iter().filter(|role| allowed(*role, action)).map(Role::name).collect();
            table.push_str(&format!("{:<22}{}\n", action.name(), who.join(" ")));
        }
        let golden = include_str!("../../../cases/access/table.txt");
        assert_eq!(table, golden, "cases/access/table.txt differs; if the change is meant, copy the left side there");
    }
}
