"""Chat templates of the tiny models, and the control tokens they are made of.

A template ends with the token that starts one of the model's scripts; that is all a tiny model ever reads
of a prompt. llama.cpp finds out from a template's text whether a model calls tools (the Hermes form) and
whether it thinks.
"""

from __future__ import annotations

BOS, EOS, END = "<|bos|>", "<|eos|>", "<|end|>"
SYSTEM, USER = "<|system|>", "<|user|>"
#: These start a script. A model with a tool calls it after ASSISTANT, answers where no tools are offered
#: after ANSWER, and says what the tool has said after TOOL. (Where a call is demanded, llama.cpp aborts
#: unless it is ASSISTANT that the call follows.)
ASSISTANT, ANSWER, TOOL = "<|assistant|>", "<|answer|>", "<|tool|>"

CONTROL_TOKENS = (BOS, EOS, END, SYSTEM, USER, ASSISTANT, ANSWER, TOOL)

#: What the thinking template puts after ASSISTANT where the caller wants no thinking.
NO_THOUGHT = "<think>\n\n</think>\n\n"

PLAIN = """\
{{- '<|bos|>' -}}
{%- for message in messages -%}
{{- '<|' + message.role + '|>' + message.content + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""

THINKING = """\
{{- '<|bos|>' -}}
{%- for message in messages -%}
{%- set content = message.content -%}
{%- if message.role == 'assistant' and '</think>' in content -%}
{%- set content = content.split('</think>')[-1] -%}
{%- endif -%}
{{- '<|' + message.role + '|>' + content + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""

TOOLS = """\
{{- '<|bos|>' -}}
{%- if tools -%}
{{- '<|system|># Tools\\n\\nFunction signatures within <tools></tools> XML tags:\\n<tools>' -}}
{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}
{{- '\\n</tools>\\n\\nFor each function call, return a JSON object within <tool_call></tool_call> XML tags:\\n' -}}
{{- '<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|end|>' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- '<|user|><tool_response>\\n' + message.content + '\\n</tool_response><|end|>' -}}
{%- else -%}
{{- '<|' + message.role + '|>' + (message.content or '') -}}
{%- for call in message.tool_calls or [] -%}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' -}}
{{- call.function.arguments | tojson -}}{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|end|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
{%- if messages[-1].role == 'tool' -%}{{- '<|tool|>' -}}
{%- elif tools -%}{{- '<|assistant|>' -}}
{%- else -%}{{- '<|answer|>' -}}{%- endif -%}
{%- endif -%}
"""
