//! A model's own chat template, rendered as Hugging Face's `apply_chat_template` renders it.

mod conversation;

use std::sync::LazyLock;

pub use conversation::{Conversation, Message, Role};
use leafresh_engine::ModelInfo;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use regex::Regex;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use time::OffsetDateTime;
use time::format_description::parse_strftime_owned;

/// Stands for the content while the template is rendered: private-use characters, which no input may hold.
const CONTENT: &str = "\u{E000}content\u{E000}";

/// What a model thinks between, where a template ends with the opening one: the answer isn't to be written in there.
const THOUGHTS: [(&str, &str); 3] =
    [("<think>", "</think>"), ("<thought>", "</thought>"), ("[THINK]", "[/THINK]")];

/// What the template puts before and after a user's turn, the answer's opening included.
///
/// # Errors
/// A sentence that continues "the model …".
pub(crate) fn frame(model: &ModelInfo) -> Result<(String, String), String> {
    let Some(template) = &model.chat_template else {
        return Err("has no chat template".into());
    };
    let rendered = render(template, model, &[context! { role => "user", content => CONTENT }])?;
    match rendered.split_once(CONTENT) {
        Some((before, after)) => Ok((before.to_owned(), thought_through(after))),
        None => Err("has a chat template that drops the user's turn".into()),
    }
}

/// A template with these messages, up to where the model's answer begins.
fn render(template: &str, model: &ModelInfo, messages: &[Value]) -> Result<String, String> {
    let values = context! {
        messages,
        add_generation_prompt => true,
        enable_thinking => false,
        bos_token => model.bos,
        eos_token => model.eos,
    };
    environment()
        .render_str(&without_training_marks(template), values)
        .map_err(|error| format!("has a chat template that fails: {}", describe(&error)))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
        let wrong = |error: String| Error::new(ErrorKind::InvalidOperation, error);
        let format = parse_strftime_owned(&format).map_err(|error| wrong(error.to_string()))?;
        OffsetDateTime::now_utc().format(&format).map_err(|error| wrong(error.to_string()))
    });
    environment.add_function("raise_exception", |reason: String| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, reason))
    });
    environment
}

/// `{% generation %}` marks what is trained on; it renders as what it holds.
fn without_training_marks(template: &str) -> String {
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("it compiles: a test renders one")
    });
    let with_if = |found: &regex::Captures| {
        let tag = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {tag} {}%}}", &found[1], &found[3])
    };
    MARK.replace_all(template, with_if).into_owned()
}

/// With thoughts that were begun ended, empty as they are.
fn thought_through(after: &str) -> String {
    let end = after.trim_end();
    match THOUGHTS.iter().find(|(opening, _)| end.ends_with(opening)) {
        Some((_, closing)) => format!("{end}\n\n{closing}\n\n"),
        None => after.to_owned(),
    }
}

/// As Python's `json.dumps`: a space after `,` and `:`, nothing escaped for HTML.
#[expect(clippy::needless_pass_by_value, reason = "filters are handed their options so")]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut json = Vec::new();
    let written = match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent);
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut json, pretty))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut json, AsPython)),
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(json).map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

struct AsPython;

impl Formatter for AsPython {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, to: &mut W) -> std::io::Result<()> {
        to.write_all(b": ")
    }
}

/// An error with its causes, in one line.
pub(crate) fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(template: &str) -> Result<(String, String), String> {
        frame(&ModelInfo {
            chat_template: Some(template.into()),
            bos: "<s>".into(),
            eos: "</s>".into(),
            ..ModelInfo::default()
        })
    }

    /// Field report 35. Templates of the same kinds as those of current models.
    #[test]
    fn templates_of_current_models_are_rendered_as_hugging_face_does() {
        let cases = [
            (
                "Mistral 7B v0.3",
                "{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set rest = messages[1:] %}\n{%- else %}\n    {%- set rest = messages %}\n{%- endif %}\n\
                 {%- for m in rest %}\n    {%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}\n        {{- raise_exception('roles must alternate') }}\n    {%- endif %}\n{%- endfor %}\n\
                 {{- bos_token }}\n{%- for m in rest %}\n    {%- if m.role == 'user' %}\n        {{- '[INST] ' + m.content + '[/INST]' }}\n    {%- else %}\n        {{- ' ' + m.content|trim + eos_token }}\n    {%- endif %}\n{%- endfor %}",
                "<s>[INST] ",
                "[/INST]",
            ),
            (
                "EXAONE",
                "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '[|system|][|endofturn|]\n' }}{% endif %}{{ '[|' + message['role'] + '|]' + message['content'] }}{% if message['role'] == 'user' %}{{ '\n' }}{% else %}{{ '[|endofturn|]\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}",
                "[|system|][|endofturn|]\n[|user|]",
                "\n[|assistant|]",
            ),
            (
                "Gemma 3",
                "{{ bos_token }}\n{%- set prefix = \"\" -%}\n{% for message in messages %}\n    {% if message['role'] == 'assistant' %}\n        {% set role = \"model\" %}\n    {% else %}\n        {% set role = message['role'] %}\n    {%- endif -%}\n    \
                 {{ '<start_of_turn>' + role + '\n' + (prefix if loop.first else \"\") }}\n    {%- if message['content'] is string -%}\n        {{ message['content'] | trim }}\n    {%- elif message['content'] is iterable -%}\n        {{ raise_exception('no images') }}\n    {%- endif -%}\n    {{ '<end_of_turn>\n' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n    {{ '<start_of_turn>model\n' }}\n{%- endif -%}\n",
                "<s><start_of_turn>user\n",
                "<end_of_turn>\n<start_of_turn>model\n",
            ),
            (
                "Qwen3",
                "{%- set ns = namespace(tool=true, last=messages|length - 1) %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages|length - 1) - loop.index0 %}\n    {%- if ns.tool and message.role == \"user\" and not (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}\n        {%- set ns.tool = false %}\n        {%- set ns.last = index %}\n    {%- endif %}\n{%- endfor %}\n\
                 {%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\n' }}\n    {%- if enable_thinking is defined and enable_thinking is false %}\n        {{- '<think>\n\n</think>\n\n' }}\n    {%- endif %}\n{%- endif %}",
                "<|im_start|>user\n",
                "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            ),
            (
                "a template that always thinks",
                "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}",
                "<|user|>",
                "<|assistant|><think>\n\n</think>\n\n",
            ),
            (
                "blocks on lines of their own",
                "{% for m in messages %}\n  {% if m.role == 'user' %}\nU: {{ m.content }}\n  {% endif %}\n{% endfor %}\nA:",
                "U: ",
                "\nA:",
            ),
            (
                "loop controls, JSON, marks of training",
                "{%- for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ {'n': [1, 2], 'w': '가<'} | tojson }}{%- generation -%}{{ m.content }}{%- endgeneration -%}{% break %}{% endfor %}!",
                "{\"n\": [1, 2], \"w\": \"가<\"}",
                "!",
            ),
        ];
        for (name, template, before, after) in cases {
            assert_eq!(framed(template), Ok((before.to_owned(), after.to_owned())), "{name}");
        }
    }

    /// Field report 35: Llama 3, Mistral Small and SmolLM3 tell the model what day it is.
    #[test]
    fn templates_may_ask_for_the_date() {
        for (name, template) in [
            (
                "Llama 3",
                "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- if strftime_now is defined %}\n        {%- set date_string = strftime_now(\"%d %b %Y\") %}\n    {%- else %}\n        {%- set date_string = \"26 Jul 2024\" %}\n    {%- endif %}\n{%- endif %}\n{{- date_string }}|{{ messages[0]['content'] | trim }}",
            ),
            (
                "Mistral Small",
                "{%- set today = strftime_now(\"%d-%m-%Y\") %}\n{%- set text = \"It is \" + today + \".\" %}\n{{- text }}{%- for m in messages %}{{ m.content }}{% endfor %}",
            ),
            (
                "SmolLM3",
                "{%- if not enable_thinking %}{%- set mode = \"/no_think\" %}{%- else %}{%- set mode = \"/think\" %}{%- endif %}{{ mode }} {{ strftime_now(\"%d %B %Y\") }}\n{% for m in messages %}{{ m.content }}{% endfor %}",
            ),
        ] {
            let (before, _) = framed(template).unwrap_or_else(|error| panic!("{name}: {error}"));
            let year = OffsetDateTime::now_utc().year().to_string();
            assert!(before.contains(&year) && !before.contains('%'), "{name}: {before}");
            assert!(name != "SmolLM3" || before.starts_with("/no_think"), "{before}");
        }
    }

    #[test]
    fn what_a_template_refuses_is_said() {
        let error = framed("{{ raise_exception('no users here') }}").unwrap_err();
        assert!(error.contains("no users here"), "{error}");
    }
}
