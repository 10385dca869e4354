//! `RoutingRequest`: what a decision may look at, read once from Python.

use modelway_core::request::{Conversation, Message, Request, Role, digest};
use modelway_core::{DataKind, DataKinds};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyMapping, PyString, PyTuple};

use crate::arguments::{amount, count, text};
use crate::errors::invalid_request;
use crate::names::{TaskClass, kind_names};

/// What a decision may look at.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct RoutingRequest {
    prompt: String,
    conversation: Conversation,
    task: Option<modelway_core::TaskClass>,
    model: Option<String>,
    tools: bool,
    images: u64,
    context_tokens: u64,
    kinds: DataKinds,
    allow_external: Option<bool>,
    /// For whoever keeps what was said before; a decision does not depend on it.
    conversation_id: Option<String>,
    /// For whoever has it admitted; a decision does not depend on it.
    user: Option<String>,
    deadline_ms: Option<f64>,
    prefer_warm: Option<bool>,
}

impl RoutingRequest {
    pub(crate) fn core(&self) -> Request<'_> {
        Request {
            prompt: &self.prompt,
            conversation: Some(&self.conversation),
            task: self.task,
            model: self.model.as_deref(),
            has_tools: self.tools,
            has_images: self.images > 0,
            context_tokens: Some(self.context_tokens),
            kinds: Some(self.kinds),
            // Consent is never given by a request: it may only forbid.
            is_kept_here: self.allow_external == Some(false),
            prefer_warm: self.prefer_warm,
        }
    }
}

#[pymethods]
impl RoutingRequest {
    #[new]
    #[pyo3(signature = (prompt=None, messages=None, task=None, model=None, tools=false, images=None, context_tokens=None, user=None, conversation=None, allow_external=None, deadline_ms=None, prefer_warm=None))]
    #[expect(clippy::too_many_arguments, reason = "the public constructor: all optional, all named")]
    fn new(
        py: Python<'_>,
        prompt: Option<&Bound<'_, PyString>>,
        messages: Option<&Bound<'_, PyAny>>,
        task: Option<&Bound<'_, PyAny>>,
        model: Option<&Bound<'_, PyString>>,
        tools: bool,
        images: Option<&Bound<'_, PyAny>>,
        context_tokens: Option<&Bound<'_, PyAny>>,
        user: Option<&Bound<'_, PyString>>,
        conversation: Option<&Bound<'_, PyString>>,
        allow_external: Option<bool>,
        deadline_ms: Option<&Bound<'_, PyAny>>,
        prefer_warm: Option<bool>,
    ) -> PyResult<Self> {
        let messages = messages.map(read_messages).transpose()?.unwrap_or_default();
        let seen = digest(messages, prompt.map(|prompt| text(prompt).into_owned()));
        let task = match task {
            None => None,
            Some(value) => Some(
                TaskClass::from_any(value)
                    .map_err(|error| invalid_request(py, &format!("task: {}", error.value(py))))?
                    .into(),
            ),
        };
        let more_images = images.map(|value| count("images", value)).transpose()?.unwrap_or(0);
        Ok(Self {
            prompt: seen.prompt,
            conversation: seen.conversation,
            task,
            model: model.map(|name| text(name).into_owned()),
            tools,
            images: seen.images.saturating_add(more_images),
            context_tokens: match context_tokens {
                Some(value) => count("context_tokens", value)?,
                None => seen.context_tokens,
            },
            kinds: seen.kinds,
            allow_external,
            conversation_id: conversation.map(|name| text(name).into_owned()),
            user: user.map(|name| text(name).into_owned()),
            deadline_ms: deadline_ms.map(|value| amount("deadline_ms", value)).transpose()?,
            prefer_warm,
        })
    }

    #[getter]
    fn prompt(&self) -> &str {
        &self.prompt
    }

    #[getter]
    fn task(&self) -> Option<TaskClass> {
        self.task.map(TaskClass::from)
    }

    #[getter]
    fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    #[getter]
    fn tools(&self) -> bool {
        self.tools
    }

    #[getter]
    fn images(&self) -> u64 {
        self.images
    }

    #[getter]
    fn context_tokens(&self) -> u64 {
        self.context_tokens
    }

    #[getter]
    fn kinds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        kind_names(py, self.core().data_kinds())
    }

    #[getter]
    fn conversation(&self) -> Option<&str> {
        self.conversation_id.as_deref()
    }

    #[getter]
    const fn allow_external(&self) -> Option<bool> {
        self.allow_external
    }

    #[getter]
    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    #[getter]
    fn deadline_ms(&self) -> Option<f64> {
        self.deadline_ms
    }

    #[getter]
    const fn prefer_warm(&self) -> Option<bool> {
        self.prefer_warm
    }

    // The prompt stays out: a repr ends up in logs.
    fn __repr__(&self) -> String {
        format!(
            "RoutingRequest(task={}, model={}, tools={}, images={}, context_tokens={})",
            self.task.map_or("None", modelway_core::TaskClass::short),
            self.model.as_ref().map_or_else(|| "None".to_owned(), |model| format!("{model:?}")),
            if self.tools { "True" } else { "False" },
            self.images,
            self.context_tokens
        )
    }
}

/// Reads `OpenAI` chat messages: a sequence of mappings with `role` and `content`.
fn read_messages(messages: &Bound<'_, PyAny>) -> PyResult<Vec<Message>> {
    let py = messages.py();
    if messages.is_instance_of::<PyString>() || messages.is_instance_of::<PyDict>() {
        return Err(invalid_request(py, "messages must be a list of messages; a text goes into prompt"));
    }
    let mut read = Vec::new();
    for (index, message) in messages.try_iter()?.enumerate() {
        let message = message?;
        let Ok(message) = message.cast::<PyMapping>() else {
            return Err(invalid_request(
                py,
                &format!("messages[{index}] must be a mapping with role and content"),
            ));
        };
        let field = |name| if message.contains(name)? { message.get_item(name).map(Some) } else { Ok(None) };
        let role = match field("role")? {
            Some(role) => role.cast::<PyString>().map_or(Role::Other, |role| role_called(&text(role))),
            None => Role::Other,
        };
        let mut message = Message { role, text: String::new(), images: 0, more: DataKinds::NONE };
        if let Some(content) = field("content")? {
            read_content(&content, index, &mut message)?;
        }
        // What tools are asked is what they work on.
        let asks_tools =
            |name| Ok::<_, PyErr>(field(name)?.is_some_and(|calls| calls.is_truthy().unwrap_or(true)));
        let has_calls = asks_tools("tool_calls")? || asks_tools("function_call")?;
        message.more = message.more.with(DataKind::ToolResults, has_calls);
        read.push(message);
    }
    Ok(read)
}

fn role_called(name: &str) -> Role {
    match name {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => Role::Other,
    }
}

/// Reads one message's content: a str, None, or a list of parts. A part that is neither text nor an image, whatever
/// it is, counts as a file: it leaves with the others.
fn read_content(content: &Bound<'_, PyAny>, index: usize, message: &mut Message) -> PyResult<()> {
    if content.is_none() {
        return Ok(());
    }
    if let Ok(words) = content.cast::<PyString>() {
        message.text = text(words).into_owned();
        return Ok(());
    }
    let Ok(parts) = content.cast::<PyList>() else {
        let problem = format!("messages[{index}].content must be a str, None, or a list of parts");
        return Err(invalid_request(content.py(), &problem));
    };
    for part in parts {
        let mut is_known = false;
        if let Ok(part) = part.cast::<PyMapping>() {
            if let Ok(piece) = part.get_item("text")
                && let Ok(piece) = piece.cast::<PyString>()
            {
                if !message.text.is_empty() {
                    message.text.push('\n');
                }
                message.text.push_str(&text(piece));
                is_known = true;
            }
            if part.contains("image_url")? {
                message.images += 1;
                is_known = true;
            }
        }
        message.more = message.more.with(DataKind::Files, !is_known);
    }
    Ok(())
}
