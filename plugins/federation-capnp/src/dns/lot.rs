//! Which of several services is tried first.

use rand::RngExt;

use super::message::Service;
use qpq_quic_common::HostPort;

/// The order of RFC 2782: the lowest priority first; among equals by lot, each with the chance that its weight says.
pub(super) fn draw(mut services: Vec<Service>, rng: &mut impl RngExt) -> Vec<HostPort> {
    services.sort_by_key(|service| (service.priority, service.weight));
    let mut order = Vec::new();
    while let Some(best) = services.first().map(|service| service.priority) {
        let equals = services.iter().take_while(|service| service.priority == best);
        let mut sums = equals.scan(0, |sum: &mut u64, service| {
            *sum += u64::from(service.weight);
            Some(*sum)
        });
        let all = sums.clone().last().unwrap_or_default();
        let lot = rng.random_range(0..=all);
        let drawn = sums.position(|sum| sum >= lot).unwrap_or_default();
        order.extend(services.remove(drawn).address);
    }
    order
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service { priority, weight, address: Some(HostPort { host: host.to_owned(), port: 1 }) }
    }

    fn hosts(services: &[Service], rng: &mut StdRng) -> Vec<String> {
        draw(services.to_vec(), rng).into_iter().map(|address| address.host).collect()
    }

    #[test]
    fn priorities_are_kept_and_weights_are_chances() {
        let mut rng = StdRng::seed_from_u64(1);
        let all = [service(20, 9, "last"), service(10, 0, "never"), service(10, 10, "rare"), service(10, 30, "often")];
        let (mut often, mut never) = (0, 0);
        for _ in 0..1_000 {
            let order = hosts(&all, &mut rng);
            assert_eq!((order.len(), order[3].as_str()), (4, "last"));
            often += usize::from(order[0] == "often");
            never += usize::from(order[0] == "never");
        }
        assert!((650..850).contains(&often) && never < 60, "{often} times the heavy one, {never} the light one");
    }

    #[test]
    fn services_that_are_not_there_are_left_out() {
        let gone = Service { priority: 0, weight: u16::MAX, address: None };
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(hosts(&[gone.clone(), service(1, u16::MAX, "a"), gone], &mut rng), ["a"]);
        assert!(hosts(&[], &mut rng).is_empty());
    }
}
