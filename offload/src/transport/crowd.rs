use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts what comes from each address, so that one cannot take every place.
#[derive(Debug, Default)]
pub(super) struct Crowd(Mutex<BTreeMap<IpAddr, u32>>);

/// A place taken from an address; free again when dropped.
#[derive(Debug)]
pub(super) struct Standing {
    crowd: Arc<Crowd>,
    origin: IpAddr,
}

impl Crowd {
    /// A place for `from`, unless it has `most` already.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr, most: u32) -> Option<Standing> {
        let origin = origin(from);
        let mut counts = self.counts();
        let count = counts.entry(origin).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Standing {
            crowd: self.clone(),
            origin,
        })
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let mut counts = self.crowd.counts();
        if let Some(count) = counts.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.origin);
            }
        }
    }
}

/// What one host or household has for itself: an IPv4 address, or the 2^64
/// addresses of an IPv6 network.
fn origin(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let crowd = Arc::new(Crowd::default());
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"];
        let enter = |ip: &str| crowd.enter(ip.parse().unwrap(), 2);
        let first = enter(one).unwrap();
        let second = enter(same).unwrap();
        assert!(enter(one).is_none());
        assert!(enter(other).is_some());
        drop(first);
        assert!(enter(same).is_some());
        let v4 = [enter("10.0.0.1"), enter("::ffff:10.0.0.1")];
        assert!(enter("10.0.0.1").is_none() && enter("10.0.0.2").is_some());
        drop((second, v4));
        assert!(crowd.counts().is_empty());
    }
}
