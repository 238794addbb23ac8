//! DNS for the guests of a network (RFC 1035): what the [`Zone`] knows is
//! answered here, and everything else is for the host's resolvers, which the
//! caller asks.

use hickory_proto::op::{
    Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode,
};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use crate::zone::{Found, Zone};

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is answered with this.
    Reply(Vec<u8>),
    /// It is asked of the host's resolvers, as it came; if they do not answer,
    /// [`failure`] does.
    Forward,
    /// It is no question, and is not answered.
    Ignore,
}

/// How a message came, which says how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a packet.
    Udp,
    /// In a stream.
    Tcp,
}

/// More bytes than any question has.
const MAX_QUESTION: usize = 4096;

/// Bytes of an answer that every client can receive (RFC 1035 §4.2.1), and that
/// pass every network whole (DNS Flag Day 2020).
const UDP: std::ops::RangeInclusive<u16> = 512..=1232;

/// Most records of one name that are told.
const MAX_RECORDS: usize = 64;

/// Seconds for which an answer may be kept, as on EC2: a name is another's soon.
const TIME_TO_LIVE: u32 = 60;

/// Answers `message` by what `zone` knows.
pub fn answer(zone: &Zone, message: &[u8], transport: Transport) -> Answer {
    let Some(header) = header(message) else {
        return Answer::Ignore;
    };
    if header.metadata.op_code != OpCode::Query {
        return refuse(&header, ResponseCode::NotImp);
    }
    // So many questions are counted before they are read.
    if header.counts.queries != 1 || message.len() > MAX_QUESTION {
        return refuse(&header, ResponseCode::FormErr);
    }
    let Ok(request) = Message::from_vec(message) else {
        return refuse(&header, ResponseCode::FormErr);
    };
    let Some(query) = request.queries.first() else {
        return refuse(&header, ResponseCode::FormErr);
    };
    let Some(mut reply) = reply(zone, query, &request) else {
        return Answer::Forward;
    };
    // The question as it was asked, in its case.
    reply.add_query(query.clone());
    let limit = match transport {
        Transport::Udp => udp_limit(&request).into(),
        Transport::Tcp => usize::from(u16::MAX),
    };
    encode(&reply, limit)
}

/// The answer to `message` when nobody else had one; none if it asks nothing.
pub fn failure(message: &[u8]) -> Option<Vec<u8>> {
    match refuse(&header(message)?, ResponseCode::ServFail) {
        Answer::Reply(bytes) => Some(bytes),
        _ => None,
    }
}

/// The header of `message`, if it has one and is no answer itself. Answering
/// answers could go on for ever.
fn header(message: &[u8]) -> Option<Header> {
    let header = Header::read(&mut BinDecoder::new(message)).ok()?;
    (header.metadata.message_type == MessageType::Query).then_some(header)
}

fn refuse(header: &Header, code: ResponseCode) -> Answer {
    let mut reply = Message::error_msg(header.metadata.id, header.metadata.op_code, code);
    reply.metadata.recursion_desired = header.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    encode(&reply, usize::from(*UDP.start()))
}

/// `reply` in `limit` bytes: without its records, and so marked, if they do not
/// fit.
fn encode(reply: &Message, limit: usize) -> Answer {
    let whole = reply.to_vec().ok().filter(|bytes| bytes.len() <= limit);
    match whole.or_else(|| reply.truncate().to_vec().ok()) {
        Some(bytes) => Answer::Reply(bytes),
        None => Answer::Ignore,
    }
}

/// Bytes that the sender of `request` can receive in a packet (RFC 6891 §6.2.3).
fn udp_limit(request: &Message) -> u16 {
    let asked = request.edns.as_ref().map_or(0, Edns::max_payload);
    asked.clamp(*UDP.start(), *UDP.end())
}

/// What `zone` replies to `query` of `request`; none if it is not the zone's.
fn reply(zone: &Zone, query: &Query, request: &Message) -> Option<Message> {
    let mut reply = Message::response(request.metadata.id, OpCode::Query);
    reply.metadata = Metadata::response_from_request(&request.metadata);
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = true;
    if let Some(edns) = &request.edns {
        let mut own = Edns::new();
        own.set_max_payload(*UDP.end());
        reply.set_edns(own);
        if edns.version() != 0 {
            reply.metadata.response_code = ResponseCode::BADVERS;
            return Some(reply);
        }
    }
    let records = match zone.find(query.name()) {
        Found::Elsewhere => return None,
        Found::Records(records) => records,
        Found::Nothing => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            &[]
        }
    };
    let transfer = [RecordType::AXFR, RecordType::IXFR].contains(&query.query_type());
    if transfer || query.query_class() != DNSClass::IN {
        reply.metadata.response_code = ResponseCode::Refused;
        return Some(reply);
    }
    let asked = query.query_type();
    let matches = |data: &&RData| asked == RecordType::ANY || data.record_type() == asked;
    for data in records.iter().filter(matches).take(MAX_RECORDS) {
        reply.add_answer(record(query.name(), data.clone()));
    }
    if reply.answers.is_empty() {
        // It says for how long there is nothing (RFC 2308 §3).
        reply.add_authority(record(zone.domain(), authority(zone.domain())));
    }
    Some(reply)
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TIME_TO_LIVE, data)
}

/// Who is in charge of `domain`, for what it is worth: there are no other
/// servers, and nobody to write to.
fn authority(domain: &Name) -> RData {
    let ttl = TIME_TO_LIVE.cast_signed();
    let soa = SOA::new(
        domain.clone(),
        domain.clone(),
        1,
        ttl,
        ttl,
        ttl,
        TIME_TO_LIVE,
    );
    RData::SOA(soa)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zone::tests::zone;
    use proptest::prelude::*;

    fn question(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn answered(zone: &Zone, message: &Message, transport: Transport) -> (Message, usize) {
        match answer(zone, &message.to_vec().unwrap(), transport) {
            Answer::Reply(bytes) => (Message::from_vec(&bytes).unwrap(), bytes.len()),
            other => panic!("{other:?}"),
        }
    }

    fn reply(name: &str, kind: RecordType) -> Message {
        let (reply, _) = answered(&zone(), &question(name, kind), Transport::Udp);
        assert_eq!(
            (reply.metadata.id, reply.metadata.message_type),
            (7, MessageType::Response)
        );
        assert!(reply.metadata.recursion_available && reply.metadata.recursion_desired);
        reply
    }

    fn texts(reply: &Message) -> Vec<String> {
        reply
            .answers
            .iter()
            .map(|record| record.data.to_string())
            .collect()
    }

    #[test]
    fn names_and_addresses_of_the_network_are_answered() {
        for (name, kind, data) in [
            ("Web.region-1.internal.", RecordType::A, "10.0.1.5"),
            (
                "ip-10-0-1-6.region-1.internal.",
                RecordType::ANY,
                "10.0.1.6",
            ),
            (
                "5.1.0.10.in-addr.arpa.",
                RecordType::PTR,
                "web.region-1.internal.",
            ),
        ] {
            let reply = reply(name, kind);
            assert_eq!(texts(&reply), [data]);
            assert!(reply.metadata.authoritative);
            assert_eq!(reply.queries[0].name().to_ascii(), name);
            assert_eq!(reply.answers[0].ttl, 60);
        }
    }

    #[test]
    fn what_there_is_not_is_said_with_how_long_that_holds() {
        for (name, kind, code) in [
            (
                "web.region-1.internal.",
                RecordType::AAAA,
                ResponseCode::NoError,
            ),
            (
                "5.1.0.10.in-addr.arpa.",
                RecordType::A,
                ResponseCode::NoError,
            ),
            ("region-1.internal.", RecordType::A, ResponseCode::NoError),
            (
                "x.region-1.internal.",
                RecordType::A,
                ResponseCode::NXDomain,
            ),
            (
                "9.9.0.10.in-addr.arpa.",
                RecordType::PTR,
                ResponseCode::NXDomain,
            ),
        ] {
            let reply = reply(name, kind);
            assert_eq!(reply.metadata.response_code, code, "{name}");
            assert!(reply.answers.is_empty());
            assert_eq!(reply.authorities[0].record_type(), RecordType::SOA);
        }
    }

    #[test]
    fn everything_else_is_for_others() {
        for name in ["debian.org.", ".", "8.8.8.8.in-addr.arpa.", "internal."] {
            let message = question(name, RecordType::A).to_vec().unwrap();
            assert_eq!(answer(&zone(), &message, Transport::Udp), Answer::Forward);
        }
        let message = question("debian.org.", RecordType::A).to_vec().unwrap();
        let failed = Message::from_vec(&failure(&message).unwrap()).unwrap();
        assert_eq!(
            (failed.metadata.id, failed.metadata.response_code),
            (7, ResponseCode::ServFail)
        );
    }

    #[test]
    fn an_answer_that_does_not_fit_is_asked_for_again_in_a_stream() {
        let mut zone = zone();
        for last in 0..100 {
            zone.add([10, 0, 2, last].into(), Some(&"many".parse().unwrap()));
        }
        let mut message = question("many.region-1.internal.", RecordType::A);
        let (reply, len) = answered(&zone, &message, Transport::Udp);
        assert!(reply.metadata.truncation && reply.answers.is_empty() && len <= 512);
        let (reply, _) = answered(&zone, &message, Transport::Tcp);
        assert_eq!(
            (reply.metadata.truncation, reply.answers.len()),
            (false, MAX_RECORDS)
        );
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        message.set_edns(edns);
        let (reply, len) = answered(&zone, &message, Transport::Udp);
        assert_eq!(
            (reply.metadata.truncation, reply.answers.len()),
            (false, MAX_RECORDS)
        );
        assert!(len <= 1232 && reply.edns.is_some());
    }

    #[test]
    fn what_is_not_done_here_is_refused() {
        let code = |message: &Message| {
            answered(&zone(), message, Transport::Udp)
                .0
                .metadata
                .response_code
        };
        let mut message = question("web.region-1.internal.", RecordType::A);
        message.metadata.op_code = OpCode::Update;
        assert_eq!(code(&message), ResponseCode::NotImp);
        let mut message = question("web.region-1.internal.", RecordType::A);
        message.queries[0].set_query_class(DNSClass::CH);
        assert_eq!(code(&message), ResponseCode::Refused);
        let transfer = question("region-1.internal.", RecordType::AXFR);
        assert_eq!(code(&transfer), ResponseCode::Refused);
        let mut message = question("web.region-1.internal.", RecordType::A);
        message.add_query(message.queries[0].clone());
        assert_eq!(code(&message), ResponseCode::FormErr);
        let mut message = question("web.region-1.internal.", RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(1);
        message.set_edns(edns);
        // The number has two meanings (RFC 6895 §2.3).
        assert_eq!(u16::from(code(&message)), u16::from(ResponseCode::BADVERS));
    }

    #[test]
    fn answers_and_scraps_are_not_answered() {
        let mut message = question("web.region-1.internal.", RecordType::A);
        message.metadata.message_type = MessageType::Response;
        let bytes = message.to_vec().unwrap();
        assert_eq!(answer(&zone(), &bytes, Transport::Udp), Answer::Ignore);
        assert_eq!(failure(&bytes), None);
        let whole = question("web.region-1.internal.", RecordType::A)
            .to_vec()
            .unwrap();
        for end in 0..whole.len() {
            match answer(&zone(), &whole[..end], Transport::Udp) {
                Answer::Ignore => assert!(end < 12),
                Answer::Reply(bytes) => assert_eq!(bytes[3] & 0xF, 1, "FORMERR"),
                Answer::Forward => panic!("{end} bytes were a question"),
            }
        }
    }

    proptest! {
        #[test]
        fn any_message_is_answered_or_not(
            bytes in prop::collection::vec(any::<u8>(), 0..300), queries in 0..3_u8, more in 0..3_u8
        ) {
            let _ = answer(&zone(), &bytes, Transport::Udp);
            let mut question = vec![0, 7, 1, 0, 0, queries, 0, 0, 0, 0, 0, more];
            question.extend(bytes);
            let _ = answer(&zone(), &question, Transport::Udp);
        }

        #[test]
        fn any_byte_may_be_another(at in 0..200_usize, byte in any::<u8>()) {
            let mut message = question("web.region-1.internal.", RecordType::A);
            message.set_edns(Edns::new());
            let mut bytes = message.to_vec().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Answer::Reply(bytes) = answer(&zone(), &bytes, Transport::Udp) {
                prop_assert!(bytes.len() <= 1232);
            }
        }
    }
}
