//! Lists of ports.

use super::names;

/// Parts of a comma list; a list that ends with a comma is refused.
///
/// # Errors
/// The server's text.
pub(crate) fn split(text: &str) -> Result<Vec<&str>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.ends_with(',') {
        return Err("extraneous commas in list".to_owned());
    }
    Ok(text.split(',').collect())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn number(text: &str) -> Result<u32, String> {
    let port = text.parse::<u32>().ok().filter(|port| *port <= 65_535);
    port.ok_or_else(|| format!("invalid port '{text}'"))
}

/// Checks a list of numbers, ranges `a:b` and service names; `icmp` lets types of ICMP stand too.
///
/// # Errors
/// The server's text.
pub(crate) fn check(text: &str, icmp: bool) -> Result<(), String> {
    let (mut numbers, mut types) = (0_u32, false);
    for part in split(text)? {
        match part.split_once(':') {
            Some((first, last)) if is_digits(first) && is_digits(last) => {
                numbers += 2;
                if number(first)? > number(last)? {
                    return Err(format!(
                        "backwards range '{part}' not allowed, did you mean '{last}:{first}'?"
                    ));
                }
            }
            _ if is_digits(part) => {
                numbers += 1;
                number(part)?;
            }
            _ if icmp && (names::is_icmp_type(part) || names::is_icmp_v6_type(part)) => {
                types = true;
            }
            _ if names::is_service(part) => {}
            _ => return Err(format!("invalid port '{part}'")),
        }
    }
    if types && numbers > 0 {
        return Err("ICMP ports not allowed in port range".to_owned());
    }
    if numbers > 15 {
        return Err("too many entries in port list (> 15 numbers)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_ports() {
        for good in ["", "0", "80,443", "8443:8445", "ssh,http", "1:2,3:4,5"] {
            assert_eq!(check(good, false), Ok(()), "{good}");
        }
        let fail = |text: &str| check(text, false).expect_err(text);
        assert_eq!(fail("70000"), "invalid port '70000'");
        assert_eq!(fail("80,"), "extraneous commas in list");
        assert_eq!(fail(",80"), "invalid port ''");
        assert_eq!(fail("90:80"), "backwards range '90:80' not allowed, did you mean '80:90'?");
        assert_eq!(fail("nosuch"), "invalid port 'nosuch'");
        let many: Vec<String> = (1..=16).map(|port| port.to_string()).collect();
        assert_eq!(fail(&many.join(",")), "too many entries in port list (> 15 numbers)");
        assert_eq!(fail("echo-request"), "invalid port 'echo-request'");
        assert_eq!(check("echo-request", true), Ok(()));
        assert_eq!(
            check("echo-request,1", true),
            Err("ICMP ports not allowed in port range".to_owned())
        );
    }
}
