"""A repository of rules that Bazel 4 has built in, in place of a download.

Bazel's own toolchains load some rules from repositories that it would fetch.
"""

def _built_in_rules(repository):
    folder = repository.attr.folder
    lines = ["%s = native.%s" % (rule, rule) for rule in repository.attr.rules]
    repository.file(folder + "/BUILD")
    repository.file(folder + "/defs.bzl", "\n".join(lines) + "\n")

built_in_rules = repository_rule(
    implementation = _built_in_rules,
    attrs = {
        "folder": attr.string(doc = "of defs.bzl"),
        "rules": attr.string_list(doc = "names that defs.bzl has"),
    },
)
