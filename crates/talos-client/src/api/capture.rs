//! Packets that pass a link of a node.

use std::str::FromStr;

use crate::client::{Chunks, Client, call};
use crate::error::Error;
use crate::proto::machine;

/// Bytes of each packet that are kept unless told otherwise: what `talosctl` takes.
const LENGTH: u32 = 4096;

/// Which packets are captured, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureOptions {
    /// Name of the link, such as `eth0`.
    pub link: String,
    /// Packets for others too.
    pub promiscuous: bool,
    /// Bytes of each packet that are kept.
    pub length: u32,
    /// Only packets that this lets through; all if it is empty.
    pub filter: PacketFilter,
}

impl CaptureOptions {
    /// All packets of a link.
    pub fn of(link: impl Into<String>) -> Self {
        let filter = PacketFilter::default();
        Self { link: link.into(), promiscuous: false, length: LENGTH, filter }
    }

    /// Whether packets for others are captured too.
    #[must_use]
    pub fn promiscuous(mut self, promiscuous: bool) -> Self {
        self.promiscuous = promiscuous;
        self
    }

    /// How many bytes of each packet are kept.
    #[must_use]
    pub fn length(mut self, bytes: u32) -> Self {
        self.length = bytes;
        self
    }

    /// Which packets are captured.
    #[must_use]
    pub fn filter(mut self, filter: PacketFilter) -> Self {
        self.filter = filter;
        self
    }
}

/// A program of the kernel's packet filter, read from what `tcpdump -dd EXPRESSION` prints.
///
/// # Example
/// ```
/// use talos_client::api::PacketFilter;
///
/// let filter: PacketFilter = "{ 0x28, 0, 0, 0x0000000c },\n{ 0x6, 0, 0, 0x00040000 }".parse()?;
/// assert_eq!(filter.len(), 2);
/// assert!("ip and tcp".parse::<PacketFilter>().is_err());
/// # Ok::<(), talos_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PacketFilter(Vec<[u32; 4]>);

impl PacketFilter {
    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// It lets all packets through.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for PacketFilter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |line: &str| {
            let text = format!("{line:?} is no line that `tcpdump -dd` prints");
            Error::config("read a packet filter", text)
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let instruction = |line: &str| {
            let inner = line.trim_end_matches(',').strip_prefix('{')?.strip_suffix('}')?;
            let numbers: Option<Vec<u32>> = inner.split(',').map(number).collect();
            <[u32; 4]>::try_from(numbers?).ok()
        };
        let all = lines.map(|line| instruction(line).ok_or_else(|| refused(line)));
        Ok(Self(all.collect::<Result<_, _>>()?))
    }
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Client {
    /// Captures packets until the caller drops the stream: a file as `tcpdump -r` and Wireshark read it, in
    /// pieces. Operators and administrators.
    ///
    /// # Errors
    /// See [`Error`]; [`Server`](crate::ErrorKind::Server) if the node has no such link.
    pub async fn capture(&self, options: &CaptureOptions) -> Result<Chunks, Error> {
        let call = &call::CAPTURE;
        if options.link.is_empty() {
            return Err(self.refused(call, "no link is named"));
        }
        let instructions = options.filter.0.iter();
        let request = machine::PacketCaptureRequest {
            interface: options.link.clone(),
            promiscuous: options.promiscuous,
            snap_len: options.length,
            bpf_filter: instructions
                .map(|[op, jt, jf, k]| machine::BpfInstruction { op: *op, jt: *jt, jf: *jf, k: *k })
                .collect(),
        };
        self.chunks(call, request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_line_by_line() {
        let text = "{ 0x28, 0, 0, 0x0000000c },\n\n  { 0x15, 0, 5, 0x000086dd },\n";
        let filter: PacketFilter = text.parse().unwrap();
        assert_eq!(filter.0, [[0x28, 0, 0, 12], [0x15, 0, 5, 0x86dd]]);
        assert!("".parse::<PacketFilter>().unwrap().is_empty());
        for odd in ["{ 1, 2, 3 },", "{ 1, 2, 3, 4, 5 }", "{ 1, 2, 3, x }", "1 2 3 4"] {
            let error = odd.parse::<PacketFilter>().unwrap_err();
            assert!(error.message().contains("tcpdump -dd"), "{error}");
        }
    }
}
