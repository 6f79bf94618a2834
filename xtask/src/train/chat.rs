//! The prompt formats of the families, as pieces of text and as Jinja.

/// How a family writes a conversation.
pub struct Format {
    /// Before everything.
    pub start: &'static str,
    /// Around a system message.
    pub system: (&'static str, &'static str),
    /// Around a user message; the second part opens the answer.
    pub user: (&'static str, &'static str),
    /// Closes an answer. It is learned: the model says it itself.
    pub end: &'static str,
    /// Between a closed answer and the next user message.
    pub between: &'static str,
    /// The same as a chat template.
    pub template: &'static str,
}

/// Llama 3: headers; no date, and no system message unless there is one.
pub const LLAMA3: Format = Format {
    start: "<|begin_of_text|>",
    system: ("<|start_header_id|>system<|end_header_id|>\n\n", "<|eot_id|>"),
    user: (
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    end: "<|eot_id|>",
    between: "",
    template: "\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
",
};

/// Mistral v7-tekken: tags without spaces.
pub const MISTRAL: Format = Format {
    start: "<s>",
    system: ("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    user: ("[INST]", "[/INST]"),
    end: "</s>",
    between: "",
    template: "\
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {{- '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}
    {%- elif message['role'] == 'user' %}
        {{- '[INST]' + message['content'] + '[/INST]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- message['content'] + eos_token }}
    {%- else %}
        {{- raise_exception('Only system, user and assistant roles are supported.') }}
    {%- endif %}
{%- endfor %}
",
};

/// ChatML, as Qwen writes it.
pub const CHATML: Format = Format {
    start: "",
    system: ("<|im_start|>system\n", "<|im_end|>\n"),
    user: ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
    end: "<|im_end|>",
    between: "\n",
    template: "\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
",
};

/// GLM-4: an answer ends where the next role begins. The published template leaves the newline after the last head to
/// the model; here it is part of the prompt, so that answers do not begin with it.
pub const GLM4: Format = Format {
    start: "[gMASK]<sop>",
    system: ("<|system|>\n", ""),
    user: ("<|user|>\n", "<|assistant|>\n"),
    end: "<|user|>",
    between: "",
    template: "\
[gMASK]<sop>
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>\\n' + message['content'] }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|>\\n' }}
{%- endif %}
",
};
