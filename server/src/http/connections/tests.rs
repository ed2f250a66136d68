//! Who is let in, and who goes for whom.

use super::*;

fn peer(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// 4 in all, of them 3 unknown, 2 of an address, 2 of a token.
fn few() -> Arc<Connections> {
    let limits = HttpLimits {
        connections_max: 4,
        unknown_connections_max: 3,
        address_connections_max: 2,
        station_connections_max: 2,
        ..HttpLimits::default()
    };
    Connections::new(limits, Arc::default(), Proxies::new(vec!["198.51.100.0/24".parse().unwrap()]))
}

#[tokio::test]
async fn a_proxy_that_is_believed_has_as_many_as_there_may_be_in_all() {
    let connections = few();
    let proxy = [198, 51, 100, 7].into();
    let seats: Vec<_> = (0..4).map(|_| connections.enter(proxy).unwrap()).collect();
    assert_eq!(connections.counts(), (4, 0, 4), "more than an address may have, and strangers");
    for token in [1, 2, 3] {
        seats[0].belongs_to([token; 32], &"north").unwrap();
        seats[1].belongs_to([1; 32], &"north").unwrap();
        seats[2].belongs_to([1; 32], &"north").unwrap();
    }
    let mut headers = hyper::HeaderMap::new();
    assert_eq!(seats[0].address_of(&headers).to_string(), "198.51.100.7");
    headers.insert("X-Forwarded-For", "192.0.2.9".parse().unwrap());
    assert_eq!(seats[0].address_of(&headers).to_string(), "192.0.2.9");
    let stranger = connections.enter(peer(1)).unwrap();
    assert_eq!(stranger.address_of(&headers).to_string(), "192.0.2.1", "nobody else is believed");
}

fn is_told(seat: &Seat) -> bool {
    use futures_util::FutureExt as _;
    seat.is_to_close().now_or_never().is_some()
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

const MOMENT: Duration = Duration::from_millis(2);

#[tokio::test]
async fn for_a_newcomer_the_longest_idle_of_its_address_is_closed_then_of_all_unknown() {
    let connections = few();
    let enter = async |last| {
        pass(MOMENT).await;
        connections.enter(peer(last)).unwrap()
    };
    let (first, second) = (enter(1).await, enter(1).await);
    drop(first.busy());
    pass(MOMENT).await;
    let third = enter(1).await;
    assert!(is_told(&second) && !is_told(&first) && !is_told(&third), "the second has been idle for longest");
    let other = enter(2).await;
    assert_eq!(connections.counts(), (3, 3, 0));
    let last = enter(3).await;
    assert!(is_told(&first) && !is_told(&third) && !is_told(&other));
    assert_eq!(connections.counts(), (3, 3, 0));
    drop((second, first, third, other, last));
    assert_eq!(connections.counts(), (0, 0, 0));
    assert!(connections.held().holders.is_empty());
}

#[tokio::test]
async fn unknown_ones_close_no_known_one_while_there_is_another() {
    let connections = few();
    let known = [connections.enter(peer(1)).unwrap(), connections.enter(peer(1)).unwrap()];
    known.iter().for_each(|seat| seat.belongs_to([7; 32], &"north").unwrap());
    let crowd: Vec<_> = (1..=200).filter_map(|last| connections.enter(peer(last))).collect();
    assert_eq!(crowd.len(), 200, "everybody is let in");
    assert_eq!(connections.counts(), (4, 2, 2));
    assert!(!known.iter().any(|seat| is_told(seat)));
    // Whoever shows a token gets a place for it, from those who have none.
    let station = crowd.last().unwrap();
    station.belongs_to([8; 32], &"south").unwrap();
    let other = connections.enter(peer(1)).unwrap();
    other.belongs_to([9; 32], &"east").unwrap();
    assert_eq!(connections.counts(), (4, 0, 4));
    // When all are known, the longest idle goes: nobody is kept out.
    pass(MOMENT).await;
    let late = connections.enter(peer(9)).unwrap();
    assert_eq!(connections.counts(), (4, 1, 3));
    assert!(is_told(&known[0]) && !is_told(&late));
}

#[tokio::test]
async fn a_token_takes_places_from_itself_alone() {
    let connections = few();
    let other = connections.enter(peer(1)).unwrap();
    other.belongs_to([1; 32], &"north").unwrap();
    pass(MOMENT).await;
    let [first, second, third] = [2, 2, 3].map(|last| connections.enter(peer(last)).unwrap());
    first.belongs_to([2; 32], &"south").unwrap();
    let busy = (first.busy(), second.busy());
    second.belongs_to([2; 32], &"south").unwrap();
    assert_eq!(third.belongs_to([2; 32], &"south"), Err(NoRoom), "both are busy");
    pass(UNDISTURBED).await;
    assert_eq!(third.belongs_to([2; 32], &"south"), Err(NoRoom), "and stay so for as long as they like");
    drop(busy.0);
    assert_eq!(third.belongs_to([2; 32], &"south"), Ok(()));
    assert!(is_told(&first) && !is_told(&second) && !is_told(&other));
    assert_eq!(third.belongs_to([2; 32], &"south"), Ok(()), "it has its place");
}

#[tokio::test]
async fn a_busy_one_is_closed_only_when_it_is_unknown_and_takes_long_and_nobody_is_idle() {
    let connections = few();
    let (first, second) = (connections.enter(peer(1)).unwrap(), connections.enter(peer(1)).unwrap());
    let busy = (first.busy(), second.busy());
    assert!(connections.enter(peer(1)).is_none(), "both have just begun");
    assert!(!is_told(&first) && !is_told(&second));
    pass(UNDISTURBED).await;
    let third = connections.enter(peer(1)).unwrap();
    assert_eq!(third.address().to_string(), "192.0.2.1");
    assert_eq!(first.is_to_close().await, Close::AtOnce);
    drop(busy);
    let _fourth = connections.enter(peer(1)).unwrap();
    assert_eq!(third.is_to_close().await, Close::WhenIdle, "an idle one goes before");
    assert!(!is_told(&second));
}

#[tokio::test]
async fn without_descriptors_an_unknown_one_goes_first() {
    let connections = few();
    let known = connections.enter(peer(1)).unwrap();
    known.belongs_to([1; 32], &"north").unwrap();
    pass(MOMENT).await;
    let unknown = connections.enter(peer(1)).unwrap();
    assert!(connections.make_room());
    assert!(is_told(&unknown) && !is_told(&known));
    let busy = known.busy();
    assert!(!connections.make_room(), "it is known and busy");
    drop(busy);
    assert!(connections.make_room() && is_told(&known));
}
