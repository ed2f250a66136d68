//! The way in: one upstream, the schemas it knows, and the bounds of what it takes.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use tidemark_core::decision::Span;
use tidemark_core::frame::{self, FrameError, FrameHeader};
use tidemark_core::ids::StationNumber;
use tidemark_core::limits::FrameLimits;
use tidemark_core::protocol::{Problem, ProblemCode, PushReply, Remedy};
use tidemark_core::schema::{Fingerprint, Schema};
use tokio::time::Instant;

use super::apply::Outcome;
use super::check::TimeRange;
use super::decoded::{Decoded, Part};
use super::patience::Patience;
use super::problem::store_problem;
use super::project;
use super::stages::Stages;
use crate::bounds::{CHUNKS_MAX, ClockWindow};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::panics::Panics;
use crate::upstream::Upstream;

/// How long pieces follow each other within one request: less than a client waits for its reply.
const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Takes frames for one upstream.
pub struct Ingest {
    pub(super) upstream: Arc<dyn Upstream>,
    current: Arc<Schema>,
    known: RwLock<HashMap<Fingerprint, Arc<Schema>>>,
    window: ClockWindow,
    pub(super) limits: FrameLimits,
    clock: Arc<dyn Clock>,
    pub(super) chunks_max: u32,
    pub(super) request_time: Duration,
    pub(super) patience: Patience,
    pub(super) panics: Arc<Panics>,
    pub(super) notices: Arc<Notices>,
    pub(super) metrics: Arc<Metrics>,
}

impl Ingest {
    /// Serves `schema` into `upstream`.
    #[must_use]
    pub fn new(
        upstream: Arc<dyn Upstream>,
        schema: Arc<Schema>,
        window: ClockWindow,
        limits: FrameLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let known = RwLock::new(HashMap::from([(schema.fingerprint(), Arc::clone(&schema))]));
        let (patience, panics) = (Patience::default(), Arc::<Panics>::default());
        let metrics = Arc::<Metrics>::default();
        metrics.serves(schema.name(), schema.version());
        metrics.take_in(upstream.collectors());
        Self {
            upstream,
            current: schema,
            known,
            window,
            limits,
            clock,
            chunks_max: CHUNKS_MAX,
            request_time: REQUEST_TIME,
            patience,
            panics,
            notices: Arc::default(),
            metrics,
        }
    }

    /// Goes on for so long with the pieces of one batch before it asks the client to send it again; unless told
    /// otherwise it is 20 s.
    #[must_use]
    pub fn with_request_time(self, request_time: Duration) -> Self {
        Self { request_time, ..self }
    }

    /// Touches at most so many chunks of tables with a time column in one transaction; unless told otherwise it is
    /// [`CHUNKS_MAX`].
    #[must_use]
    pub fn with_chunks_max(self, chunks_max: u32) -> Self {
        Self { chunks_max: chunks_max.max(1), ..self }
    }

    /// The panics of this program, while it takes frames and answers requests, and in its tasks.
    #[must_use]
    pub const fn panics(&self) -> &Arc<Panics> {
        &self.panics
    }

    /// What the log says of refusals.
    #[must_use]
    pub const fn notices(&self) -> &Arc<Notices> {
        &self.notices
    }

    /// What is counted and measured.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Whether a batch of the station failed for another reason than that the database is away, and none went through
    /// whole since.
    #[must_use]
    pub fn is_tried(&self, station: StationNumber) -> bool {
        self.patience.is_tried(station)
    }

    /// The upstream.
    #[must_use]
    pub fn upstream(&self) -> &Arc<dyn Upstream> {
        &self.upstream
    }

    /// The schema that is served.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.current
    }

    /// The bounds of one frame.
    #[must_use]
    pub const fn limits(&self) -> FrameLimits {
        self.limits
    }

    /// The times that are taken.
    #[must_use]
    pub const fn window(&self) -> ClockWindow {
        self.window
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The schema with this fingerprint; asks the database when it is not known yet, because another server may have
    /// brought it.
    ///
    /// # Errors
    /// [`ProblemCode::UnknownSchema`], or that the database cannot be asked.
    pub async fn schema_of(&self, fingerprint: Fingerprint) -> Result<Arc<Schema>, Problem> {
        let known = |known: &HashMap<Fingerprint, Arc<Schema>>| known.get(&fingerprint).cloned();
        if let Some(schema) = known(&self.known.read().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            return Ok(schema);
        }
        let stored = self.upstream.schemas().await.map_err(store_problem)?;
        let wanted = fingerprint.to_hex();
        let parsed =
            stored.iter().find(|schema| schema.fingerprint == wanted).map(|schema| Schema::parse(&schema.toml));
        match parsed {
            Some(Ok(schema)) if schema.fingerprint() == fingerprint => {
                let schema = Arc::new(schema);
                let mut known = self.known.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                known.insert(fingerprint, Arc::clone(&schema));
                Ok(schema)
            }
            Some(_) => Err(Problem::new(
                ProblemCode::Internal,
                format!("the schema {fingerprint} recorded in the server's database is not readable"),
            )),
            None => Err(Problem::new(
                ProblemCode::UnknownSchema,
                format!(
                    "the server does not know schema {fingerprint}; it serves {} version {} ({}): use the same schema file on both sides",
                    self.current.name(),
                    self.current.version(),
                    self.current.fingerprint()
                ),
            )),
        }
    }

    /// Whether a station with this schema can be served.
    ///
    /// # Errors
    /// [`ProblemCode::UnknownSchema`] or [`ProblemCode::IncompatibleSchema`].
    pub async fn accepts(&self, fingerprint: Fingerprint) -> Result<(), Problem> {
        let schema = self.schema_of(fingerprint).await?;
        match project::incompatible(&schema, &self.current) {
            Some(reason) => Err(Problem::new(ProblemCode::IncompatibleSchema, reason)),
            None => Ok(()),
        }
    }

    /// Reads the head of a frame and checks whose it is.
    ///
    /// # Errors
    /// [`ProblemCode::BadFrame`], [`ProblemCode::TooLarge`] or [`ProblemCode::WrongStation`].
    pub fn open(&self, station: StationNumber, frame: &[u8]) -> Result<FrameHeader, Problem> {
        let header = FrameHeader::parse(frame, &self.limits).map_err(|error| self.frame_problem(&error))?;
        if header.station != station {
            return Err(Problem::new(
                ProblemCode::WrongStation,
                format!("the frame is of station {}, the token of station {station}", header.station),
            ));
        }
        Ok(header)
    }

    /// Turns the bytes of a frame, opened before, into a batch that can be applied. Takes a while for a large one.
    ///
    /// # Errors
    /// [`ProblemCode::BadFrame`], [`ProblemCode::TooLarge`] or [`ProblemCode::IncompatibleSchema`].
    pub fn decode(&self, schema: Arc<Schema>, frame: &[u8]) -> Result<Decoded, Problem> {
        let began = Instant::now();
        let decoded = frame::decode_with_prints(frame, &schema, &self.limits);
        let (batch, prints) = decoded.map_err(|error| self.frame_problem(&error))?;
        let projected = if schema.fingerprint() == self.current.fingerprint() {
            None
        } else {
            let projected = project::project(&batch, &schema, &self.current);
            Some(projected.map_err(|reason| Problem::new(ProblemCode::IncompatibleSchema, reason))?)
        };
        let now_ms = self.clock.now_ms();
        let times = TimeRange::new(self.window, now_ms);
        let (current, chains, stages) = (Arc::clone(&self.current), OnceLock::new(), Stages::default());
        self.metrics.batches.decoded(frame.len(), began.elapsed());
        let foreseen = None;
        let decoded = Decoded { batch, prints, schema, current, projected, times, now_ms, chains, stages, foreseen };
        Ok(decoded.foresee(Part { chunks_max: self.chunks_max, ..Part::WHOLE }))
    }

    /// The problem of a station whose batch was not applied.
    pub(super) async fn declined(&self, station: StationNumber, span: &Span, outcome: Outcome) -> Problem {
        match outcome {
            Outcome::Gap { cursor } => {
                let detail = format!(
                    "the batch begins at change {}, the server has changes up to {}: send from {} on",
                    span.first_seq,
                    cursor.seq,
                    cursor.seq + 1
                );
                Problem::new(ProblemCode::Gap, detail).at(cursor)
            }
            Outcome::Forked { cursor } => {
                tracing::warn!(
                    %station,
                    tidemark = cursor.seq,
                    "a batch continues another history: the station's file was copied, put back to an older copy or altered. If that file is to \
                     go on, make it a code: `tidemark-server station add NAME --replaces OLD` if no other copy is in use, else `station add NAME`"
                );
                let detail = format!(
                    "the batch continues another history than the one the server has up to change {}: the station's file was copied, restored from a backup or altered",
                    cursor.seq
                );
                Problem::new(ProblemCode::Forked, detail).at(cursor)
            }
            Outcome::Revoked => self.revoked(station).await,
            Outcome::UnknownStation | Outcome::Done { .. } => {
                Problem::new(ProblemCode::Internal, format!("the server has no cursor of station {station}"))
            }
        }
    }

    /// The problem of a station that may not push any more.
    pub async fn revoked(&self, station: StationNumber) -> Problem {
        let replaced_by = match self.upstream.replaced_by(station).await {
            Ok(replaced_by) => replaced_by,
            Err(error) => return store_problem(error),
        };
        let (detail, remedy) = match replaced_by {
            Some(other) => (
                format!(
                    "station {station} was replaced by {other:?}: its file, or a copy of it, went on under a new number"
                ),
                Some(Box::new(Remedy::RejoinBeside { station: other })),
            ),
            None => (format!("station {station} was revoked by the server's operator; ask them"), None),
        };
        Problem { remedy, ..Problem::new(ProblemCode::Revoked, detail) }
    }

    /// All of it: what the endpoint does between a request's body and its reply.
    ///
    /// # Errors
    /// See the steps.
    pub async fn push(&self, station: StationNumber, frame: &[u8]) -> Result<PushReply, Problem> {
        let header = self.open(station, frame)?;
        let schema = self.schema_of(header.fingerprint).await?;
        self.apply(self.decode(schema, frame)?).await
    }

    fn frame_problem(&self, error: &FrameError) -> Problem {
        match error {
            FrameError::TooLarge { .. } => {
                Problem::new(ProblemCode::TooLarge, error.to_string()).with_limits(self.limits)
            }
            _ => Problem::new(ProblemCode::BadFrame, error.to_string()),
        }
    }
}
