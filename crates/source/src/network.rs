use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

/// An address with how many of its leading bits count, as in `192.0.2.0/24`; `192.0.2.7` is `192.0.2.7/32`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is in it. IPv4 mapped into IPv6 counts as IPv4.
    pub fn has(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                same(u128::from(own.to_bits()), u128::from(other.to_bits()), 32 - self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128 - self.prefix),
            _ => false,
        }
    }

    /// Whether it is one address alone.
    pub fn is_host(&self) -> bool {
        self.prefix == bits(self.address)
    }

    /// How many leading bits count: the more, the smaller the network.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same(one: u128, other: u128, ignored: u8) -> bool {
    (one ^ other).checked_shr(ignored.into()).unwrap_or(0) == 0
}

/// Text that is no address or network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address or network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")]
pub struct NotANetwork(String);

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.chars().take(80).collect());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let all = bits(address);
        let prefix = prefix.map_or(Ok(all), str::parse).map_err(|_| wrong())?;
        let network = Self { address, prefix };
        // Bits behind the prefix are a mistake: 192.0.2.7/24 was meant as one address, or as a network.
        let whole = match address {
            IpAddr::V4(own) => prefix <= all && u128::from(own.to_bits()).trailing_zeros() >= u32::from(all - prefix),
            IpAddr::V6(own) => prefix <= all && own.to_bits().trailing_zeros() >= u32::from(all - prefix),
        };
        if whole { Ok(network) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() { write!(f, "{}", self.address) } else { write!(f, "{}/{}", self.address, self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_networks() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "::ffff:192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.7"),
        ] {
            let read: Network = network.parse().unwrap();
            assert_eq!(read.to_string(), network);
            assert!(read.has(inside.parse().unwrap()), "{network} {inside}");
            assert!(!read.has(outside.parse().unwrap()), "{network} {outside}");
        }
        for wrong in ["", "web1", "192.0.2.7/24", "192.0.2.0/33", "192.0.2.0/", "192.0.2.0/-1", "2001:db8::1/64"] {
            assert!(wrong.parse::<Network>().unwrap_err().to_string().contains(wrong), "{wrong}");
        }
    }
}
