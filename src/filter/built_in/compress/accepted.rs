//! `Accept-Encoding`: which coding a client likes best (RFC 9110, 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::Coding;

/// A thousandth: weights have three digits at most.
type Weight = u16;

/// The coding that the client likes best, of several that it likes the same our first. `None`: it is to be sent as it is.
pub(super) fn best(request: &HeaderMap, ours: &[Coding]) -> Option<Coding> {
    let weight = |coding: &Coding| {
        let name = coding.name();
        let name = name.to_str().unwrap_or_default();
        of(request, name).or_else(|| of(request, "*")).unwrap_or(0)
    };
    let plain = of(request, "identity").unwrap_or(0);
    let liked =
        ours.iter().map(|coding| (weight(coding), *coding)).filter(|(weight, _)| *weight > 0 && *weight >= plain);
    // The first of the greatest, where `max_by_key` has the last.
    liked.rev().max_by_key(|(weight, _)| *weight).map(|(_, coding)| coding)
}

/// The weight of one coding, if it is named.
fn of(request: &HeaderMap, coding: &str) -> Option<Weight> {
    let mut accepted = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.find_map(|value| value.split(',').find_map(|member| weighed(member, coding)))
}

fn weighed(member: &str, coding: &str) -> Option<Weight> {
    let mut parts = member.split(';').map(str::trim);
    let name = parts.next()?;
    if !(name.eq_ignore_ascii_case(coding) || coding == "gzip" && name.eq_ignore_ascii_case("x-gzip")) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let Some(weight) = weight else { return Some(1000) };
    // What is no weight is none.
    let weight = weight.trim().parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight));
    Some(weight.map_or(0, |weight| (weight * 1000.0) as Weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_decides_and_then_we() {
        use Coding::{Br, Gzip, Zstd};
        let all = [Zstd, Br, Gzip];
        for (accepted, ours, coding) in [
            (&["gzip, deflate, br, zstd"][..], &all[..], Some(Zstd)),
            (&["gzip, deflate, br"], &all, Some(Br)),
            (&["gzip;q=1.0, br;q=0.5"], &all, Some(Gzip)),
            (&["gzip;q=0.5", "br;q=0.8"], &all, Some(Br)),
            (&["zstd;q=0, *"], &all, Some(Br)),
            (&["*"], &all, Some(Zstd)),
            (&["*;q=0"], &all, None),
            (&["identity"], &all, None),
            (&["identity;q=0.5, gzip;q=0.2"], &all, None),
            (&["GZIP"], &all, Some(Gzip)),
            (&["x-gzip"], &all, Some(Gzip)),
            (&["gzip; q=0.000"], &all, None),
            (&["gzip;q=NaN"], &all, None),
            (&["gzip;q=7"], &all, None),
            (&["gzip;q="], &all, None),
            (&[""], &all, None),
            (&[], &all, None),
            (&["br, zstd"], &[Gzip], None),
            (&["br, gzip"], &[Gzip, Br], Some(Gzip)),
            (&["gzipped"], &all, None),
        ] {
            let mut request = HeaderMap::new();
            for value in accepted {
                request.append(ACCEPT_ENCODING, value.parse().unwrap());
            }
            assert_eq!(best(&request, ours), coding, "{accepted:?}");
        }
    }
}
