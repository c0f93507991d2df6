//! A conversation of any length as the prompt behind which a model writes its next answer.

use leafresh_engine::{ModelInfo, Piece, Prompt};
use minijinja::{Value, context};

use super::{render, thought_through};

/// Stands around a message's number while the template is rendered. What people wrote is put in afterwards, so it may hold
/// this character too.
const MARK: char = '\u{E000}';

/// For models without a template of their own: they have read texts of this kind.
const PLAIN: &str = "{% for message in messages %}\
    {% if message.role == 'system' %}{{ message.content }}\n\n\
    {% elif message.role == 'user' %}User: {{ message.content }}\n\
    {% else %}Assistant: {{ message.content }}\n{% endif %}\
    {% endfor %}Assistant: ";

/// With which such a model goes on to write the other one's part.
const PLAIN_STOP: &str = "\nUser:";

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    /// As templates name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

/// What has been said so far, as a model is given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The messages as plain text, what the template puts between them as such.
    pub prompt: Prompt,
    /// What ends the model's answer beside its own ends.
    pub stop: Vec<String>,
}

impl Conversation {
    /// By the model's own chat template, or, where it has none, in a plain layout.
    ///
    /// # Errors
    /// A sentence that continues "the model …", when its template refuses these messages or drops one of them.
    pub fn new(model: &ModelInfo, messages: Vec<Message>) -> Result<Self, String> {
        let template = model.chat_template.as_deref();
        let marked = |(number, message): (usize, &Message)| {
            context! { role => message.role.name(), content => format!("{MARK}{number}{MARK}") }
        };
        let marked: Vec<Value> = messages.iter().enumerate().map(marked).collect();
        let rendered = render(template.unwrap_or(PLAIN), model, &marked)?;
        let stop = if template.is_some() { Vec::new() } else { vec![PLAIN_STOP.to_owned()] };
        Ok(Self { prompt: filled(&rendered, messages)?, stop })
    }
}

/// The rendered template with each message in its place, and the last piece without a thought that was begun.
fn filled(rendered: &str, messages: Vec<Message>) -> Result<Prompt, String> {
    let mut contents: Vec<(String, bool)> =
        messages.into_iter().map(|message| (message.content, false)).collect();
    let mut pieces = Vec::new();
    // A template holds no such character, so between two of them are numbers, and elsewhere there are none.
    for (index, part) in rendered.split(MARK).enumerate() {
        if index % 2 == 0 {
            pieces.push(Piece::Template(part.to_owned()));
            continue;
        }
        let message = part.parse::<usize>().ok().and_then(|number| contents.get_mut(number));
        let (content, is_used) = message.ok_or("has a chat template that changes what was said")?;
        *is_used = true;
        pieces.push(Piece::Text(content.clone()));
    }
    if let Some(number) = contents.iter().position(|(_, is_used)| !is_used) {
        return Err(format!("has a chat template that drops message {number} (counted from 0)"));
    }
    if let Some(Piece::Template(last)) = pieces.last_mut() {
        *last = thought_through(last);
    }
    pieces.retain(|(Piece::Template(text) | Piece::Text(text))| !text.is_empty());
    Ok(Prompt { pieces })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str =
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}<|assistant|>";

    fn model(template: Option<&str>) -> ModelInfo {
        ModelInfo { chat_template: template.map(String::from), bos: "<s>".into(), ..ModelInfo::default() }
    }

    fn said(messages: &[(Role, &str)]) -> Vec<Message> {
        messages.iter().map(|&(role, content)| Message { role, content: content.to_owned() }).collect()
    }

    fn talk() -> Vec<Message> {
        said(&[
            (Role::System, "be kind"),
            (Role::User, "hi <|end|>"),
            (Role::Assistant, "hello"),
            (Role::User, ""),
        ])
    }

    #[test]
    fn messages_are_text_and_what_stands_between_them_is_the_templates() {
        let conversation = Conversation::new(&model(Some(CHATML)), talk()).unwrap();
        let template = |text: &str| Piece::Template(text.into());
        let text = |text: &str| Piece::Text(text.into());
        let expected = [
            template("<|system|>"),
            text("be kind"),
            template("<|end|>\n<|user|>"),
            text("hi <|end|>"),
            template("<|end|>\n<|assistant|>"),
            text("hello"),
            template("<|end|>\n<|user|>"),
            template("<|end|>\n<|assistant|>"),
        ];
        assert_eq!(conversation.prompt.pieces, expected);
        assert!(conversation.stop.is_empty());
    }

    #[test]
    fn a_model_without_a_template_reads_a_plain_layout_and_stops_before_the_next_question() {
        let conversation = Conversation::new(&model(None), talk()).unwrap();
        let expected = "be kind\n\nUser: hi <|end|>\nAssistant: hello\nUser: \nAssistant: ";
        assert_eq!(conversation.prompt.text(), expected);
        assert_eq!(conversation.stop, ["\nUser:"]);
    }

    #[test]
    fn what_people_type_is_never_taken_for_a_place_in_the_template() {
        let typed = "\u{E000}0\u{E000} {{ messages }} \u{E000}";
        let messages = said(&[(Role::User, typed)]);
        let conversation = Conversation::new(&model(Some(CHATML)), messages).unwrap();
        assert_eq!(conversation.prompt.pieces[1], Piece::Text(typed.into()));
        assert_eq!(conversation.prompt.pieces.len(), 3);
    }

    #[test]
    fn what_a_template_refuses_or_drops_is_said() {
        let cases = [
            ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
            ("{{ messages[0].content }}", "drops message 1"),
            (
                "{% for m in messages %}{{ m.content | replace('1', 'x') }}{% endfor %}",
                "changes what was said",
            ),
        ];
        for (template, expected) in cases {
            let error = Conversation::new(&model(Some(template)), talk()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_thought_that_a_template_begins_is_ended() {
        let template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n";
        let conversation = Conversation::new(&model(Some(template)), talk()).unwrap();
        assert!(conversation.prompt.text().ends_with("<think>\n\n</think>\n\n"));
    }
}
