use tokio::net::TcpListener;

use super::message::tests::answer;
use super::*;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// The next question at a socket, and who asks.
async fn asked(server: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut asked = vec![0; 512];
    let (len, from) = server.recv_from(&mut asked).await.unwrap();
    asked.truncate(len);
    (asked, from)
}

async fn find(servers: &[SocketAddr], deadline: Instant) -> Result<Services, String> {
    ask_all(servers, "b.example", TYPE_SRV, deadline).await.map(choose)
}

fn at(host: &str, port: u16) -> Services {
    Services::At(vec![HostPort { host: host.into(), port }])
}

#[test]
fn the_systems_name_servers_are_read() {
    let conf = "# x\nsearch a\nnameserver 10.0.0.1 # near\nnameserver\t::1\nnameserver bad\nnameservers 10.0.0.2\n";
    assert_eq!(servers(conf), ["10.0.0.1:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
}

#[test]
fn a_server_is_asked_and_nonsense_before_its_answer_is_not_heard() {
    run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let answering = async {
            let (asked, from) = asked(&server).await;
            server.send_to(b"rubbish", from).await.unwrap();
            server.send_to(&answer(&asked, &[(0, 0, 7, "h.b.example")]), from).await.unwrap();
        };
        let servers = [server.local_addr().unwrap()];
        let (found, ()) = tokio::join!(find(&servers, soon()), answering);
        assert_eq!(found, Ok(at("h.b.example", 7)));
    });
}

#[test]
fn a_lost_question_is_asked_again() {
    run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let answering = async {
            asked(&server).await;
            let (asked, from) = asked(&server).await;
            server.send_to(&answer(&asked, &[(0, 0, 7, "h.b.example")]), from).await.unwrap();
        };
        let servers = [server.local_addr().unwrap()];
        let (found, ()) = tokio::join!(find(&servers, soon()), answering);
        assert_eq!(found, Ok(at("h.b.example", 7)));
    });
}

/// The answer of a server in trouble once ended the look-up.
#[test]
fn a_server_in_trouble_leaves_the_word_to_the_next() {
    run(async {
        let [first, second] =
            [UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap()];
        let answering = async {
            let (question, from) = asked(&first).await;
            let mut trouble = answer(&question, &[]);
            trouble[3] = 0x82;
            first.send_to(&trouble, from).await.unwrap();
            let (question, from) = asked(&second).await;
            second.send_to(&answer(&question, &[(0, 0, 7, "h.b.example")]), from).await.unwrap();
        };
        let servers = [first.local_addr().unwrap(), second.local_addr().unwrap()];
        let (found, ()) = tokio::join!(find(&servers, soon()), answering);
        assert_eq!(found, Ok(at("h.b.example", 7)));
    });
}

/// Such an answer once counted for what it still had, or as silence.
#[test]
fn an_answer_that_is_cut_off_is_fetched_over_tcp() {
    run(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpListener::bind(server.local_addr().unwrap()).await.unwrap();
        let answering = async {
            let (question, from) = asked(&server).await;
            let mut cut_off = answer(&question, &[(0, 0, 6, "wrong.b.example")]);
            cut_off[2] |= 2;
            server.send_to(&cut_off, from).await.unwrap();
            let (mut client, _) = stream.accept().await.unwrap();
            let mut again = vec![0; client.read_u16().await.unwrap().into()];
            client.read_exact(&mut again).await.unwrap();
            assert_eq!(again, question);
            let whole = answer(&question, &[(0, 0, 7, "h.b.example")]);
            client.write_u16(whole.len() as u16).await.unwrap();
            client.write_all(&whole).await.unwrap();
        };
        let servers = [server.local_addr().unwrap()];
        let (found, ()) = tokio::join!(find(&servers, soon()), answering);
        assert_eq!(found, Ok(at("h.b.example", 7)));
    });
}

#[test]
fn what_nobody_answers_is_an_error_with_a_reason() {
    run(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let servers = [silent.local_addr().unwrap()];
        let deadline = Instant::now() + Duration::from_millis(50);
        let why = find(&servers, deadline).await.unwrap_err();
        assert!(why.contains("127.0.0.1 does not answer"), "{why}");
        assert_eq!(find(&[], deadline).await, Ok(Services::Unsaid));
    });
}

#[test]
fn a_dot_means_that_there_is_no_federation() {
    let question = message::question(7, "b.example", TYPE_SRV).unwrap();
    let chosen = |records: &[(u16, u16, u16, &str)]| match message::parse(&answer(&question, records), &question) {
        Some(Answer::Records(records)) => choose(records),
        other => panic!("{other:?}"),
    };
    assert_eq!(chosen(&[(0, 0, 0, "")]), Services::NotOffered);
    assert_eq!(chosen(&[(0, 0, 0, ""), (1, 0, 7, "h.b.example")]), at("h.b.example", 7));
    assert_eq!(chosen(&[]), Services::Unsaid);
}
