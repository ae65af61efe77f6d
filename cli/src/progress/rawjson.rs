//! `--progress=rawjson`: BuildKit's SolveStatus objects, one a line, in the JSON that Go writes for them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use data_encoding::BASE64;
use rbuild_builder::{Event, LogStream, StepStatus};
use rbuild_graph::VertexDigest;
use serde_json::{Map, Value, json};

use super::Renderer;
use crate::human::rfc3339;

/// The renderer. Remembers when steps began, because a vertex is always written whole.
#[derive(Debug, Default)]
pub(super) struct RawJson {
    started: BTreeMap<VertexDigest, i64>,
    transfers: BTreeMap<(VertexDigest, String), i64>,
}

impl Renderer for RawJson {
    fn event(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.object(event))
    }

    fn tick(&mut self, _now: i64, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _now: i64, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

impl RawJson {
    pub(super) fn new() -> RawJson {
        RawJson::default()
    }

    fn object(&mut self, event: &Event) -> Value {
        match event {
            Event::Vertex { vertex, name, inputs, status, time } => {
                json!({ "vertexes": [self.vertex(*vertex, name, inputs, status, *time)] })
            }
            Event::Status { vertex, id, current, total, time, completed } => {
                let started = *self.transfers.entry((*vertex, id.clone())).or_insert(*time);
                let mut status = Map::new();
                status.insert("id".to_owned(), json!(id));
                status.insert("vertex".to_owned(), json!(vertex.to_string()));
                if *total != 0 {
                    status.insert("total".to_owned(), json!(total));
                }
                status.insert("current".to_owned(), json!(current));
                status.insert("timestamp".to_owned(), json!(rfc3339(*time)));
                status.insert("started".to_owned(), json!(rfc3339(started)));
                if *completed {
                    status.insert("completed".to_owned(), json!(rfc3339(*time)));
                }
                json!({ "statuses": [status] })
            }
            Event::Log { vertex, stream, bytes, time } => {
                let stream = match stream {
                    LogStream::Stdout => 1,
                    LogStream::Stderr => 2,
                };
                let data = BASE64.encode(bytes);
                json!({ "logs": [{ "vertex": vertex.to_string(), "stream": stream, "data": data, "timestamp": rfc3339(*time) }] })
            }
            Event::Warning { vertex, short, detail, lines } => {
                json!({ "warnings": [warning(*vertex, short, detail, *lines)] })
            }
        }
    }

    fn vertex(
        &mut self,
        vertex: VertexDigest,
        name: &str,
        inputs: &[VertexDigest],
        status: &StepStatus,
        time: i64,
    ) -> Map<String, Value> {
        let started = *self.started.entry(vertex).or_insert(time);
        let mut object = Map::new();
        object.insert("digest".to_owned(), json!(vertex.to_string()));
        if !inputs.is_empty() {
            object.insert("inputs".to_owned(), inputs.iter().map(VertexDigest::to_string).collect());
        }
        object.insert("name".to_owned(), json!(name));
        object.insert("started".to_owned(), json!(rfc3339(started)));
        if *status != StepStatus::Started {
            object.insert("completed".to_owned(), json!(rfc3339(time)));
        }
        match status {
            StepStatus::Cached => drop(object.insert("cached".to_owned(), json!(true))),
            StepStatus::Failed(message) => drop(object.insert("error".to_owned(), json!(message))),
            StepStatus::Cancelled => drop(object.insert("error".to_owned(), json!("context canceled"))),
            StepStatus::Started | StepStatus::Completed => {}
        }
        object
    }
}

/// Go writes byte slices in base64, and lines as ranges of positions.
fn warning(vertex: Option<VertexDigest>, short: &str, detail: &[String], lines: Option<(u32, u32)>) -> Map<String, Value> {
    let mut object = Map::new();
    if let Some(vertex) = vertex {
        object.insert("vertex".to_owned(), json!(vertex.to_string()));
    }
    object.insert("level".to_owned(), json!(1));
    object.insert("short".to_owned(), json!(BASE64.encode(short.as_bytes())));
    if !detail.is_empty() {
        object.insert("detail".to_owned(), detail.iter().map(|line| BASE64.encode(line.as_bytes())).collect());
    }
    if let Some((first, last)) = lines {
        object.insert("range".to_owned(), json!([{ "start": { "line": first }, "end": { "line": last } }]));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::script;

    #[test]
    fn a_build_is_a_line_of_json_for_each_event() {
        let text = script::play(&mut RawJson::new(), &script::build());
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), script::build().len());
        insta::assert_snapshot!(text);
    }
}
