//! How a process gets its bot: first it shuts itself off, then it is told what to run.

use super::*;

impl Guard {
    pub(super) fn new(
        start: StartVersion,
        process: Process,
        socket: UnixStream,
        orders: UnboundedReceiver<Order>,
        siblings: Siblings,
    ) -> Self {
        let (now, shared) = (Instant::now(), Arc::clone(&start.shared));
        let told = Told { bot: shared.name.clone(), generation: start.generation, messages: start.messages.clone() };
        let changes = siblings.join(&told.bot, told.generation);
        let (read, write) = socket.into_split();
        let limits = start.effective_limits();
        let bound = confine::data_bytes(&limits, start.source.bytes());
        let lines = 2.0 * f64::from(limits.log_lines_per_second);
        let load = (
            LOAD_CPU + Duration::from_millis(limits.cpu_at_load_ms),
            LOAD_WALL + Duration::from_secs(limits.handler_life_secs),
        );
        Self {
            gate: Gate::new(&told.bot, Default::default(), limits.clone()),
            watch: Watch::new(bound, load, now),
            frames: Frames::new(wire::from_child_bytes(&limits)),
            out: BytesMut::new(),
            limits,
            phase: Phase::Loading,
            prepared: None,
            isolation: "process",
            calls: FuturesUnordered::new(),
            queued: Default::default(),
            wide: 0,
            commit_bytes: 0,
            held: Vec::new(),
            taker: None,
            inherited: 0,
            evals: Vec::new(),
            evals_made: 0,
            others: Vec::new(),
            seen: wire::Report::default(),
            rate: Bucket::new(FRAMES_AT_ONCE, FRAMES_PER_SECOND, now),
            book_rate: Bucket::new(lines, lines, now),
            inbox_told: 0,
            news_due: false,
            look_at: now,
            orders_over: false,
            mute: false,
            start,
            shared,
            told,
            process,
            orders,
            siblings,
            changes,
            read,
            write,
        }
    }

    /// Has the process shut itself off, and asks the node meanwhile for what the bot needs to know.
    pub(super) async fn begin(&mut self) -> Result<(), Failure> {
        let data_bytes = self.watch.bound();
        let lost = |error: std::io::Error| Failure::new(Kind::Panic, format!("its process is gone: {error}"));
        let mut first = BytesMut::new();
        wire::put(&mut first, &ToChild::Confine { data_bytes })
            .map_err(|BadFrame(why)| Failure::new(Kind::Panic, why))?;
        self.write.write_all(&first).await.map_err(lost)?;
        let prepared = prepare(&self.start).await?;
        self.gate = Gate::new(&self.told.bot, prepared.permissions.clone(), prepared.limits.clone());
        self.prepared = Some(prepared);
        Ok(())
    }

    /// The process has shut itself off: it gets its bot.
    pub(super) fn confined(&mut self, without_seccomp: Option<String>) -> Result<(), Fall> {
        let Some(prepared) = self.prepared.take() else {
            return Err(Fall::Broken("it said twice that it is shut off".to_owned()));
        };
        if let Some(why) = without_seccomp {
            let why = super::super::super::api::clean(&why, 200);
            tracing::warn!(target: "qpq::script", bot = %self.told.bot, "its process may make any system call: {why}");
            self.isolation = "process without seccomp";
        }
        // From here to the end nothing is awaited, so no change of another version falls between.
        let entries = if self.gate.has_store() { lock(&self.shared.store).entries() } else { Vec::new() };
        for portion in wire::portions(entries) {
            self.push(&ToChild::Entries(portion))?;
        }
        let unwritable = |error: serde_json::Error| Fall::Broken(error.to_string());
        let source = &self.start.source;
        let start = wire::Start {
            name: self.told.bot.clone(),
            limits: prepared.limits,
            manifest: serde_json::to_string(&source.manifest).map_err(unwritable)?,
            main: source.main.clone(),
            files: source.files.clone().into_iter().collect(),
            needs: prepared.permissions.needs().to_vec(),
            overrides: serde_json::to_string(&self.start.config.config).map_err(unwritable)?,
            self_id: prepared.identity.peer_id,
            self_name: prepared.identity.nickname,
            state: self.start.state.take().map(|state| state.encode()),
            timers: lock(&self.shared.timers).all(),
            levels: lock(&self.shared.traffic).levels(self.shared.clock.now()),
        };
        self.push(&ToChild::Start(Box::new(start)))
    }
}
