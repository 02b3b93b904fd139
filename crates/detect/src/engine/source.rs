//! Which log sources an event belongs to, from what it is (channel and event id, decoder, program), never from who sent it.

use crate::sigma::rule::LogSource;

/// What an event offers to rules that name a product, category or service.
///
/// Compared and hashed by address, for speed on every event: all lists are tables of this file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Source {
    pub(crate) products: &'static [&'static str],
    pub(crate) categories: &'static [&'static str],
    pub(crate) services: &'static [&'static str],
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.products, other.products)
            && std::ptr::eq(self.categories, other.categories)
            && std::ptr::eq(self.services, other.services)
    }
}

impl Eq for Source {}

impl std::hash::Hash for Source {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for list in [self.products, self.categories, self.services] {
            list.as_ptr().hash(state);
        }
    }
}

impl Source {
    pub(crate) const fn new(
        products: &'static [&'static str],
        categories: &'static [&'static str],
        services: &'static [&'static str],
    ) -> Self {
        Self { products, categories, services }
    }

    /// Whether a rule about `wanted` looks at such events.
    pub(crate) fn serves(&self, wanted: &LogSource) -> bool {
        let offers =
            |wanted: &Option<String>, offered: &[&str]| wanted.as_ref().is_none_or(|wanted| offered.contains(&wanted.as_str()));
        offers(&wanted.product, self.products)
            && offers(&wanted.category, self.categories)
            && offers(&wanted.service, self.services)
    }

    /// The name it is counted under, as in `windows/process_creation`.
    pub(crate) fn name(&self) -> String {
        let parts: Vec<String> = [self.products, self.categories, self.services]
            .iter()
            .filter(|names| !names.is_empty())
            .map(|names| names.join("+"))
            .collect();
        if parts.is_empty() { "unknown".to_owned() } else { parts.join("/") }
    }
}

const SYSMON: &str = "Microsoft-Windows-Sysmon/Operational";
const SYSMON_LINUX: &str = "Linux-Sysmon/Operational";

/// Windows services by channel, compared without regard to case.
const CHANNELS: &[(&str, &[&str])] = &[
    ("Security", &["security"]),
    ("System", &["system"]),
    ("Application", &["application"]),
    (SYSMON, &["sysmon"]),
    ("Microsoft-Windows-PowerShell/Operational", &["powershell"]),
    ("PowerShellCore/Operational", &["powershell"]),
    ("Windows PowerShell", &["powershell-classic"]),
    ("Microsoft-Windows-TaskScheduler/Operational", &["taskscheduler"]),
    ("Microsoft-Windows-WMI-Activity/Operational", &["wmi"]),
    ("DNS Server", &["dns-server"]),
    ("Microsoft-Windows-DNS-Server/Audit", &["dns-server-audit"]),
    ("Microsoft-Windows-DNS-Server/Analytical", &["dns-server-analytic"]),
    ("Microsoft-Windows-DNS Client Events/Operational", &["dns-client"]),
    ("Microsoft-Windows-DNS-Client/Operational", &["dns-client"]),
    ("Microsoft-Windows-DriverFrameworks-UserMode/Operational", &["driver-framework"]),
    ("Microsoft-Windows-NTLM/Operational", &["ntlm"]),
    ("Microsoft-Windows-DHCP-Server/Operational", &["dhcp"]),
    ("MSExchange Management", &["msexchange-management"]),
    ("Microsoft-Windows-AppLocker/MSI and Script", &["applocker"]),
    ("Microsoft-Windows-AppLocker/EXE and DLL", &["applocker"]),
    ("Microsoft-Windows-AppLocker/Packaged app-Deployment", &["applocker"]),
    ("Microsoft-Windows-AppLocker/Packaged app-Execution", &["applocker"]),
    ("Microsoft-Windows-Windows Defender/Operational", &["windefend"]),
    ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall", &["firewall-as"]),
    ("Microsoft-Windows-PrintService/Admin", &["printservice-admin"]),
    ("Microsoft-Windows-PrintService/Operational", &["printservice-operational"]),
    ("Microsoft-Windows-Bits-Client/Operational", &["bits-client"]),
    ("Microsoft-Windows-CodeIntegrity/Operational", &["codeintegrity-operational"]),
    ("Microsoft-Windows-SmbClient/Security", &["smbclient-security"]),
    ("Microsoft-Windows-SmbClient/Connectivity", &["smbclient-connectivity"]),
    ("Microsoft-Windows-SMBServer/Connectivity", &["smbserver-connectivity"]),
    ("Microsoft-Windows-LDAP-Client/Debug", &["ldap", "ldap_debug"]),
    ("Microsoft-Windows-Security-Mitigations/Kernel Mode", &["security-mitigations"]),
    ("Microsoft-Windows-Security-Mitigations/User Mode", &["security-mitigations"]),
    ("Microsoft-Windows-Diagnosis-Scripted/Operational", &["diagnosis-scripted"]),
    ("Microsoft-Windows-Shell-Core/Operational", &["shell-core"]),
    ("OpenSSH/Operational", &["openssh"]),
    ("Microsoft-Windows-AppXDeploymentServer/Operational", &["appxdeployment-server"]),
    ("Microsoft-Windows-AppxPackaging/Operational", &["appxpackaging-om"]),
    ("Microsoft-Windows-AppModel-Runtime/Admin", &["appmodel-runtime"]),
    ("Microsoft-Windows-LSA/Operational", &["lsa-server"]),
    ("Microsoft-Windows-CAPI2/Operational", &["capi2"]),
    ("Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational", &["certificateservicesclient-lifecycle-system"]),
    ("Microsoft-IIS-Configuration/Operational", &["iis-configuration"]),
    ("Microsoft-Windows-TerminalServices-LocalSessionManager/Operational", &["terminalservices-localsessionmanager"]),
    ("Microsoft-ServiceBus-Client", &["microsoft-servicebus-client"]),
    ("Microsoft-ServiceBus-Client/Operational", &["microsoft-servicebus-client"]),
    ("Microsoft-ServiceBus-Client/Admin", &["microsoft-servicebus-client"]),
    ("Microsoft-Windows-Kernel-EventTracing/Admin", &["kernel-event-tracing"]),
    ("Microsoft-Windows-VHDMP-Operational", &["vhdmp"]),
    ("Microsoft-Windows-Hyper-V-Worker-Admin", &["hyper-v-worker"]),
    ("Microsoft-Windows-SENSE/Operational", &["sense"]),
];

/// What an event of a Windows channel is.
pub(crate) fn windows(channel: &str, event_id: u32) -> Source {
    if channel.eq_ignore_ascii_case(SYSMON_LINUX) {
        return Source::new(&["linux"], sysmon_categories(event_id), &["sysmon"]);
    }
    let services = CHANNELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(channel)).map_or(&[][..], |(_, services)| services);
    let categories: &[&str] = match (services, event_id) {
        (["sysmon"], _) => sysmon_categories(event_id),
        (["security"], 4688) => &["process_creation"],
        (["security"], 4657) => &["registry_event", "registry_set"],
        (["powershell"], 4104) => &["ps_script"],
        (["powershell"], 4103) => &["ps_module"],
        (["powershell-classic"], 400) => &["ps_classic_start"],
        (["powershell-classic"], 600) => &["ps_classic_provider_start"],
        (["powershell-classic"], 800) => &["ps_classic_script"],
        (["windefend"], 1006..=1008 | 1015 | 1116..=1119) => &["antivirus"],
        _ => &[],
    };
    Source::new(&["windows"], categories, services)
}

fn sysmon_categories(event_id: u32) -> &'static [&'static str] {
    match event_id {
        1 => &["process_creation"],
        2 => &["file_change"],
        3 => &["network_connection"],
        4 | 16 => &["sysmon_status"],
        5 => &["process_termination"],
        6 => &["driver_load"],
        7 => &["image_load"],
        8 => &["create_remote_thread"],
        9 => &["raw_access_thread"],
        10 => &["process_access"],
        11 => &["file_event"],
        12 => &["registry_event", "registry_add", "registry_delete"],
        13 => &["registry_event", "registry_set"],
        14 => &["registry_event", "registry_rename"],
        15 => &["create_stream_hash"],
        17 | 18 => &["pipe_created"],
        19..=21 => &["wmi_event"],
        22 => &["dns_query"],
        23 | 26 => &["file_delete"],
        24 => &["clipboard_capture"],
        25 => &["process_tampering"],
        27 => &["file_block_executable", "file_block"],
        28 => &["file_block_shredding"],
        29 => &["file_executable_detected"],
        255 => &["sysmon_error"],
        _ => &[],
    }
}

/// What a line of syslog or of the journal is, by the program that wrote it.
pub(crate) fn linux_program(program: &str) -> Source {
    const LINUX: &[&str] = &["linux"];
    let services: &[&str] = match program {
        "sshd" | "sshd-session" | "sshd-auth" => &["sshd", "auth", "syslog"],
        "sudo" => &["sudo", "auth", "syslog"],
        "su" | "login" | "systemd-logind" | "polkitd" | "pkexec" | "passwd" | "useradd" | "usermod" | "groupadd" | "userdel"
        | "chpasswd" | "gpasswd" => &["auth", "syslog"],
        "cron" | "CRON" | "crond" | "crontab" | "anacron" => &["cron", "syslog"],
        "vsftpd" => &["vsftpd", "syslog"],
        "guacd" | "guacamole" => &["guacamole", "syslog"],
        "clamd" | "clamscan" | "freshclam" | "clamav" => &["clamav", "syslog"],
        "named" | "dnsmasq" | "unbound" => &["dns", "syslog"],
        "kernel" => &["kernel", "syslog"],
        "nginx" => &["nginx", "syslog"],
        "apache2" | "httpd" => &["apache", "syslog"],
        "auditd" | "audispd" | "audit" => &["auditd", "syslog"],
        _ => &["syslog"],
    };
    Source::new(LINUX, if services[0] == "dns" { &["dns"] } else { &[] }, services)
}

/// What an event of any other decoder is; `class` is what [`super::view`] found to tell its kinds apart.
pub(crate) fn other(decoder: &str, class: &str) -> Source {
    const WEB: &[&str] = &["webserver", "proxy"];
    const MACOS: &[&str] = &["macos"];
    if let Some(path) = decoder.strip_prefix("zeek.") {
        return zeek(path);
    }
    if let Some(source) = endpoint(class) {
        return source;
    }
    match (decoder, class) {
        ("web.access" | "web.error", _) => Source::new(&[], &["webserver"], &["apache", "nginx"]),
        ("web.iis", _) => Source::new(&["windows"], &["webserver"], &["iis"]),
        ("w3c", _) => Source::new(&[], WEB, &[]),
        ("aws.cloudfront", _) => Source::new(&["aws"], &["webserver"], &["cloudfront"]),
        ("aws.alb" | "aws.elb", _) => Source::new(&["aws"], &["webserver"], &["elb"]),
        ("aws.s3access", _) => Source::new(&["aws"], &["webserver"], &["s3access"]),
        ("aws.vpcflow" | "aws.nlb", _) => Source::new(&["aws"], &["firewall"], &["vpcflow"]),
        ("windows.firewall", _) => Source::new(&["windows"], &["firewall"], &["firewall"]),
        ("cef" | "leef", _) => Source::new(&[], &["application", "firewall"], &[]),
        ("kv", "fortigate") => Source::new(&["fortigate", "fortinet"], &["firewall"], &["event", "traffic"]),
        ("utmp", _) => Source::new(&["linux"], &[], &["utmp"]),
        ("suricata.eve", "dns") => Source::new(&["suricata"], &["dns"], &["dns"]),
        ("suricata.eve", "http") => Source::new(&["suricata"], WEB, &["http"]),
        ("suricata.eve", "flow") => Source::new(&["suricata"], &["firewall"], &["flow", "netflow"]),
        ("suricata.eve", "alert") => Source::new(&["suricata"], &["ids"], &["alert"]),
        ("suricata.eve", _) => Source::new(&["suricata"], &[], &[]),
        ("aws.cloudtrail", _) => Source::new(&["aws"], &[], &["cloudtrail"]),
        ("aws.guardduty", _) => Source::new(&["aws"], &[], &["guardduty"]),
        ("aws.route53", _) => Source::new(&["aws"], &["dns"], &["route53"]),
        ("nfdump" | "netflow" | "sflow", _) => Source::new(&[], &["firewall"], &["netflow"]),
        (_, "auditd") => Source::new(&["linux"], &[], &["auditd"]),
        (_, "auditd.process") => Source::new(&["linux"], &["process_creation"], &[]),
        (_, "auditd.file") => Source::new(&["linux"], &["file_event"], &[]),
        (_, "auditd.network") => Source::new(&["linux"], &["network_connection"], &[]),
        (_, "okta") => Source::new(&["okta"], &[], &["okta"]),
        (_, "github") => Source::new(&["github"], &[], &["audit"]),
        (_, "kubernetes") => Source::new(&["kubernetes"], &["application"], &["audit"]),
        (_, "gcp") => Source::new(&["gcp"], &[], &["gcp.audit"]),
        (_, "gcp.admin") => Source::new(&["gcp"], &[], &["google_workspace.admin"]),
        (_, "gcp.login") => Source::new(&["gcp"], &[], &["google_workspace.login"]),
        (_, "azure.activity") => Source::new(&["azure"], &[], &["activitylogs"]),
        (_, "azure.audit") => Source::new(&["azure"], &[], &["auditlogs"]),
        (_, "azure.signin") => Source::new(&["azure"], &[], &["signinlogs"]),
        (_, "azure.risk") => Source::new(&["azure"], &[], &["riskdetection", "pim"]),
        (_, "m365") => Source::new(&["m365"], &[], &["audit", "exchange", "threat_management", "threat_detection"]),
        (_, "onelogin") => Source::new(&["onelogin"], &[], &["onelogin.events"]),
        (_, "opencanary") => Source::new(&["opencanary"], &["application"], &[]),
        (_, "bitbucket") => Source::new(&["bitbucket"], &[], &["audit"]),
        (_, "cisco") => Source::new(&["cisco", "huawei", "juniper"], &[], &["aaa", "bgp", "ldp", "syslog"]),
        ("aws.waf", _) => Source::new(&["aws"], WEB, &["waf"]),
        ("cloudflare.http", _) => Source::new(&["cloudflare"], WEB, &["http"]),
        ("cloudflare.firewall", _) => Source::new(&["cloudflare"], WEB, &["firewall"]),
        ("haproxy", _) => Source::new(&["haproxy"], WEB, &["haproxy"]),
        ("auth0", _) => Source::new(&["auth0"], &[], &["auth0"]),
        ("duo", _) => Source::new(&["cisco"], &[], &["duo"]),
        ("umbrella.dns", _) => Source::new(&["cisco"], &["dns"], &["umbrella"]),
        ("slack.audit", _) => Source::new(&["slack"], &[], &["audit"]),
        ("zoom", _) => Source::new(&["zoom"], &[], &["operation"]),
        ("box", _) => Source::new(&["box"], &[], &["event"]),
        ("onepassword", _) => Source::new(&["onepassword"], &[], &["onepassword"]),
        (_, "zscaler.web") => Source::new(&["zscaler"], WEB, &["web"]),
        (_, "zscaler.dns") => Source::new(&["zscaler"], &["dns"], &["dns"]),
        (_, "zscaler.firewall") => Source::new(&["zscaler"], &["firewall"], &["firewall"]),
        ("zscaler", _) => Source::new(&["zscaler"], &[], &["audit"]),
        (_, "falcon.windows") => Source::new(&["windows", "crowdstrike"], &["process_creation"], &["fdr"]),
        (_, "falcon.linux") => Source::new(&["linux", "crowdstrike"], &["process_creation"], &["fdr"]),
        (_, "falcon.macos") => Source::new(&["macos", "crowdstrike"], &["process_creation"], &["fdr"]),
        ("crowdstrike.fdr", _) => Source::new(&["crowdstrike"], &[], &["fdr"]),
        ("crowdstrike.stream", _) => Source::new(&["crowdstrike"], &[], &["stream"]),
        ("osquery", _) => Source::new(&["osquery"], &[], &[]),
        ("shell.history", _) => Source::new(&["linux"], &[], &["bash"]),
        ("macos.syslog", _) => Source::new(MACOS, &[], &["syslog"]),
        ("macos.unifiedlog", _) | (_, "unifiedlog") => Source::new(MACOS, &[], &["unifiedlog"]),
        ("macos.bsm", _) => Source::new(MACOS, &[], &["bsm"]),
        ("macos.asl", _) => Source::new(MACOS, &[], &["asl"]),
        ("android.logcat" | "android.tombstone", _) => Source::new(&["android"], &[], &["logcat"]),
        ("ios.sysdiagnose" | "ios.privacy", _) => Source::new(&["ios"], &[], &[]),
        _ => Source::new(&[], &["application"], &[]),
    }
}

/// What an agent on a machine tells, whose class is system and kind.
fn endpoint(class: &str) -> Option<Source> {
    let (system, kind) = class.split_once('.')?;
    let products: &[&str] = match system {
        "macos" => &["macos"],
        "windows" => &["windows"],
        "linux" => &["linux"],
        _ => return None,
    };
    let categories: &[&str] = match kind {
        "process" => &["process_creation"],
        "file" => &["file_event"],
        "file_delete" => &["file_delete"],
        "file_rename" => &["file_rename", "file_event"],
        "network" => &["network_connection"],
        "dns" => &["dns_query"],
        "library" => &["image_load"],
        "endpoint" => &[],
        _ => return None,
    };
    Some(Source::new(products, categories, &["endpoint"]))
}

fn zeek(path: &str) -> Source {
    const ZEEK: &[&str] = &["zeek"];
    match path {
        "http" => Source::new(ZEEK, &["webserver", "proxy"], &["http"]),
        "dns" => Source::new(ZEEK, &["dns"], &["dns"]),
        "conn" => Source::new(ZEEK, &["firewall"], &["conn", "netflow"]),
        "smb_files" => Source::new(ZEEK, &[], &["smb_files"]),
        "smb_mapping" => Source::new(ZEEK, &[], &["smb_mapping"]),
        "dce_rpc" => Source::new(ZEEK, &[], &["dce_rpc"]),
        "kerberos" => Source::new(ZEEK, &[], &["kerberos"]),
        "rdp" => Source::new(ZEEK, &[], &["rdp"]),
        "x509" => Source::new(ZEEK, &[], &["x509"]),
        "ssl" => Source::new(ZEEK, &[], &["ssl"]),
        "files" => Source::new(ZEEK, &[], &["files"]),
        "ssh" => Source::new(ZEEK, &[], &["ssh"]),
        "ntlm" => Source::new(ZEEK, &[], &["ntlm"]),
        "ftp" => Source::new(ZEEK, &[], &["ftp"]),
        "smtp" => Source::new(ZEEK, &[], &["smtp"]),
        "notice" => Source::new(ZEEK, &[], &["notice"]),
        "weird" => Source::new(ZEEK, &[], &["weird"]),
        _ => Source::new(ZEEK, &[], &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(product: &str, category: &str, service: &str) -> LogSource {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LogSource { product: part(product), category: part(category), service: part(service) }
    }

    #[test]
    fn channels_and_ids_decide() {
        let created = windows("security", 4688);
        assert!(created.serves(&wants("windows", "process_creation", "")));
        assert!(created.serves(&wants("windows", "", "security")));
        assert!(!created.serves(&wants("linux", "process_creation", "")));
        assert!(windows(SYSMON, 13).serves(&wants("windows", "registry_set", "")));
        assert!(!windows("Application", 1).serves(&wants("windows", "process_creation", "")));
        assert!(linux_program("sshd").serves(&wants("linux", "", "auth")));
        assert!(other("zeek.http", "").serves(&wants("", "proxy", "")));
        assert!(other("web.iis", "").serves(&wants("", "webserver", "")));
        assert!(other("aws.vpcflow", "").serves(&wants("", "firewall", "")));
        assert!(other("aws.waf", "").serves(&wants("", "webserver", "")));
        assert!(other("duo", "").serves(&wants("cisco", "", "duo")));
        assert!(other("onelogin", "onelogin").serves(&wants("onelogin", "", "onelogin.events")));
        assert!(windows("Linux-Sysmon/Operational", 1).serves(&wants("linux", "process_creation", "")));
        assert!(!windows("Linux-Sysmon/Operational", 1).serves(&wants("windows", "process_creation", "")));
        assert!(other("crowdstrike.fdr", "falcon.linux").serves(&wants("linux", "process_creation", "")));
        assert!(other("kv", "fortigate").serves(&wants("fortigate", "", "event")));
    }
}
