//! The macros that a rule can name.

use super::Rule;

/// Name, description and rules of a macro: `PROTOCOL[/DPORT[/SPORT]]`, separated by blanks.
type Row = (&'static str, &'static str, &'static str);

const MACROS: &[Row] = &[
    ("Amanda", "Amanda backup", "udp/10080 tcp/10080"),
    ("Auth", "identd", "tcp/113"),
    ("BGP", "BGP routing", "tcp/179"),
    ("BitTorrent32", "BitTorrent from 3.2", "tcp/6881:6999 udp/6881"),
    ("BitTorrent", "BitTorrent up to 3.1", "tcp/6881:6889 udp/6881"),
    ("CVS", "CVS pserver", "tcp/2401"),
    ("Ceph", "Ceph daemons", "tcp/6789 tcp/3300 tcp/6800:7300"),
    ("Citrix", "Citrix ICA", "tcp/1494 udp/1604 tcp/2598"),
    ("DAAP", "DAAP audio", "tcp/3689 udp/3689"),
    ("DCC", "DCC checksums", "tcp/6277"),
    ("DHCPfwd", "Forwarded DHCP", "udp/67:68/67:68"),
    ("DNS", "DNS", "udp/53 tcp/53"),
    ("Distcc", "distcc", "tcp/3632"),
    ("FTP", "FTP", "tcp/21"),
    ("Finger", "finger", "tcp/79"),
    ("GNUnet", "GNUnet", "tcp/2086 udp/2086 tcp/1080 udp/1080"),
    ("GRE", "GRE tunnels", "47"),
    ("Git", "git daemon", "tcp/9418"),
    ("HKP", "OpenPGP key servers", "tcp/11371"),
    ("HTTPS", "HTTPS", "tcp/443"),
    ("HTTP", "HTTP", "tcp/80"),
    ("ICPV2", "ICP version 2", "udp/3130"),
    ("ICQ", "ICQ", "tcp/5190"),
    ("IMAPS", "IMAP over TLS", "tcp/993"),
    ("IMAP", "IMAP", "tcp/143"),
    ("IPIP", "IP in IP", "94"),
    ("IPsecah", "IPsec with AH", "udp/500/500 51"),
    ("IPsecnat", "IPsec behind NAT", "udp/500 udp/4500 50"),
    ("IPsec", "IPsec", "udp/500/500 50"),
    ("IRC", "IRC", "tcp/6667"),
    ("Jetdirect", "JetDirect printers", "tcp/9100"),
    ("L2TP", "L2TP", "udp/1701"),
    ("LDAPS", "LDAP over TLS", "tcp/636"),
    ("LDAP", "LDAP", "tcp/389"),
    ("MDNS", "Multicast DNS", "udp/5353"),
    ("MSNP", "MSN messenger", "tcp/1863"),
    ("MSSQL", "Microsoft SQL Server", "tcp/1433"),
    ("Mail", "Mail: SMTP, SMTPS, submission", "tcp/25 tcp/465 tcp/587"),
    ("Munin", "Munin nodes", "tcp/4949"),
    ("MySQL", "MySQL", "tcp/3306"),
    ("NNTPS", "NNTP over TLS", "tcp/563"),
    ("NNTP", "NNTP", "tcp/119"),
    ("NTP", "NTP", "udp/123"),
    ("OSPF", "OSPF routing", "89"),
    ("OpenVPN", "OpenVPN", "udp/1194"),
    ("PCA", "pcAnywhere", "udp/5632 tcp/5631"),
    ("PMG", "Proxmox Mail Gateway", "tcp/8006"),
    ("POP3S", "POP3 over TLS", "tcp/995"),
    ("POP3", "POP3", "tcp/110"),
    ("PPtP", "PPTP", "47 tcp/1723"),
    ("Ping", "Echo requests", "icmp/echo-request"),
    ("PostgreSQL", "PostgreSQL", "tcp/5432"),
    ("Printer", "LPD printing", "tcp/515"),
    ("RDP", "Remote desktop", "tcp/3389"),
    ("RIP", "RIP routing", "udp/520"),
    ("RNDC", "BIND control", "tcp/953"),
    ("Razor", "Razor", "tcp/2703"),
    ("Rdate", "rdate", "tcp/37"),
    ("Rsync", "rsync daemon", "tcp/873"),
    ("SANE", "SANE scanners", "tcp/6566"),
    ("SMBswat", "SWAT", "tcp/901"),
    ("SMB", "SMB", "udp/135,445 udp/137:139 udp/1024:65535/137 tcp/135,139,445"),
    ("SMTPS", "SMTP over TLS", "tcp/465"),
    ("SMTP", "SMTP", "tcp/25"),
    ("SNMP", "SNMP", "udp/161:162 tcp/161"),
    ("SPAMD", "spamd", "tcp/783"),
    ("SPICEproxy", "SPICE proxy", "tcp/3128"),
    ("SSH", "Secure shell traffic", "tcp/22"),
    ("SVN", "svnserve", "tcp/3690"),
    ("SixXS", "SixXS tunnels", "tcp/3874 udp/3740 41 udp/5072,8374"),
    ("Squid", "Squid", "tcp/3128"),
    ("Submission", "Mail submission", "tcp/587"),
    ("Syslog", "syslog", "udp/514 tcp/514"),
    ("TFTP", "TFTP", "udp/69"),
    ("Telnets", "Telnet over TLS", "tcp/992"),
    ("Telnet", "Telnet", "tcp/23"),
    ("Time", "Time protocol", "tcp/37"),
    ("Trcrt", "Traceroute", "udp/33434:33524 icmp/echo-request"),
    ("VNCL", "VNC viewers that listen", "tcp/5500"),
    ("VNC", "VNC displays", "tcp/5900:5999"),
    ("Webcache", "Web caches", "tcp/8080"),
    ("Webmin", "Webmin", "tcp/10000"),
    ("Web", "HTTP and HTTPS", "tcp/80 tcp/443"),
    ("Whois", "whois", "tcp/43"),
];

/// Macros of IPv6 only.
const MACROS_V6: &[Row] = &[
    ("DHCPv6", "DHCPv6", "udp/546:547/546:547"),
    (
        "NeighborDiscovery",
        "Neighbor discovery",
        "icmpv6/router-solicitation icmpv6/router-advertisement icmpv6/neighbor-solicitation icmpv6/neighbor-advertisement",
    ),
];

/// Rules of macros that are other ones for IPv6.
const RULES_V6: &[(&str, &str)] =
    &[("Ping", "icmpv6/echo-request"), ("Trcrt", "udp/33434:33524 icmpv6/echo-request")];

/// Names and descriptions of all macros.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    MACROS.iter().chain(MACROS_V6).map(|(name, text, _)| (*name, *text))
}

/// The name of a macro as the server spells it.
pub(crate) fn spelled(name: &str) -> Option<&'static str> {
    all().map(|(known, _)| known).find(|known| known.eq_ignore_ascii_case(name))
}

/// The key of a rule that contradicts the macro it names, and the server's text.
pub(crate) fn conflict(name: &str, rule: &Rule, family: Option<u8>) -> Option<(String, String)> {
    let of = |rows: &'static [Row]| rows.iter().find(|(known, ..)| *known == name);
    let rules = match (of(MACROS), of(MACROS_V6)) {
        (Some((.., rules)), _) => {
            let six = RULES_V6.iter().find(|(known, _)| *known == name && family == Some(6));
            six.map_or(*rules, |(_, rules)| rules)
        }
        (None, Some((.., rules))) if family != Some(4) => rules,
        _ => return None,
    };
    for row in rules.split(' ') {
        for (key, value) in ["proto", "dport", "sport"].into_iter().zip(row.split('/')) {
            if rule.get(key).is_some_and(|given| given != value) {
                let text = format!("parameter '{key}' already define in macro (value = '{value}')");
                return Some((key.to_owned(), text));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_may_repeat_its_macro_but_not_contradict_it() {
        let rule = |text: &[(&str, &str)]| -> Rule {
            text.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(spelled("ssh"), Some("SSH"));
        assert_eq!(spelled("nosuch"), None);
        assert_eq!(conflict("SSH", &rule(&[("proto", "tcp"), ("dport", "22")]), None), None);
        let (key, text) = conflict("SSH", &rule(&[("proto", "udp")]), None).expect("a conflict");
        assert_eq!(key, "proto");
        assert_eq!(text, "parameter 'proto' already define in macro (value = 'tcp')");
        let six = rule(&[("proto", "icmpv6")]);
        assert_eq!(conflict("Ping", &six, Some(6)), None);
        assert!(conflict("Ping", &rule(&[("proto", "tcp")]), None).is_some());
    }
}
