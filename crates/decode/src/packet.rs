//! The head of a sampled packet, as far as it was sent, under IANA's names.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::Map;
use crate::netflow::mac;
use crate::octets::Octets;

/// An Ethernet frame. What is cut off is left out.
pub(crate) fn ethernet(frame: &[u8], native: &mut Map<'_>) {
    let _ = link(&mut Octets::new(frame), native);
}

/// An IP packet of either version.
pub(crate) fn ip(packet: &[u8], native: &mut Map<'_>) {
    let mut octets = Octets::new(packet);
    let _ = match packet.first().map(|first| first >> 4) {
        Some(4) => version_4(&mut octets, native),
        Some(6) => version_6(&mut octets, native),
        _ => None,
    };
}

fn link(octets: &mut Octets<'_>, native: &mut Map<'_>) -> Option<()> {
    native.push("destinationMacAddress", mac(octets.take(6)?));
    native.push("sourceMacAddress", mac(octets.take(6)?));
    let mut kind = octets.u16()?;
    // One tag inside another, as providers do; more is no network's.
    for name in ["dot1qVlanId", "dot1qCustomerVlanId"] {
        if matches!(kind, 0x8100 | 0x88A8 | 0x9100) {
            native.push(name, i64::from(octets.u16()? & 0x0FFF));
            kind = octets.u16()?;
        }
    }
    native.push("ethernetType", i64::from(kind));
    match kind {
        0x0800 => version_4(octets, native),
        0x86DD => version_6(octets, native),
        _ => None,
    }
}

fn version_4(octets: &mut Octets<'_>, native: &mut Map<'_>) -> Option<()> {
    let words = usize::from(octets.u8()? & 0x0F);
    native.push("ipVersion", 4_i64);
    native.push("ipClassOfService", i64::from(octets.u8()?));
    native.push("totalLengthIPv4", i64::from(octets.u16()?));
    octets.take(2)?;
    let fragment = octets.u16()? & 0x1FFF;
    native.push("ipTTL", i64::from(octets.u8()?));
    let protocol = octets.u8()?;
    native.push("protocolIdentifier", i64::from(protocol));
    octets.take(2)?;
    native.push("sourceIPv4Address", Ipv4Addr::from(octets.u32()?).to_string());
    native.push("destinationIPv4Address", Ipv4Addr::from(octets.u32()?).to_string());
    octets.take((words * 4).checked_sub(20)?)?;
    if fragment > 0 {
        native.push("fragmentOffset", i64::from(fragment));
        return None;
    }
    transport(protocol, octets, native)
}

fn version_6(octets: &mut Octets<'_>, native: &mut Map<'_>) -> Option<()> {
    let first = octets.u32()?;
    native.push("ipVersion", 6_i64);
    native.push("ipClassOfService", i64::from(first >> 20 & 0xFF));
    native.push("flowLabelIPv6", i64::from(first & 0xF_FFFF));
    native.push("payloadLengthIPv6", i64::from(octets.u16()?));
    let mut protocol = octets.u8()?;
    native.push("ipTTL", i64::from(octets.u8()?));
    let mut address = || Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets.take(16)?).ok()?).to_string());
    let (source, destination) = (address()?, address()?);
    native.push("sourceIPv6Address", source);
    native.push("destinationIPv6Address", destination);
    let mut fragment = 0;
    // Extension headers before the transport's: hop by hop, routing, fragment, destination.
    for _ in 0..8 {
        let (next, length) = match protocol {
            0 | 43 | 60 => (octets.u8()?, usize::from(octets.u8()?) * 8 + 6),
            44 => {
                let next = octets.u8()?;
                octets.take(1)?;
                fragment = octets.u16()? >> 3;
                (next, 4)
            }
            _ => break,
        };
        octets.take(length)?;
        protocol = next;
    }
    native.push("protocolIdentifier", i64::from(protocol));
    if fragment > 0 {
        native.push("fragmentOffset", i64::from(fragment));
        return None;
    }
    transport(protocol, octets, native)
}

fn transport(protocol: u8, octets: &mut Octets<'_>, native: &mut Map<'_>) -> Option<()> {
    let names = match protocol {
        1 => ["icmpTypeIPv4", "icmpCodeIPv4"],
        58 => ["icmpTypeIPv6", "icmpCodeIPv6"],
        6 | 17 | 33 | 132 | 136 => ["sourceTransportPort", "destinationTransportPort"],
        _ => return None,
    };
    let length = if matches!(protocol, 1 | 58) { 1 } else { 2 };
    for name in names {
        native.push(name, octets.number(length)? as i64);
    }
    if protocol == 6 {
        octets.take(8)?;
        native.push("tcpControlBits", i64::from(octets.u16()? & 0x01FF));
    }
    Some(())
}
