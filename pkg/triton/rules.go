package triton

// Rule is the short name of what a finding is about. Names are an interface: they stay what they are.
type Rule string

// What is not a model directory at all.
const (
	RuleNotDirectory Rule = "not-a-directory"
	RuleRepository   Rule = "is-repository" // a folder of models instead of one
	RuleVersionDir   Rule = "is-version"    // a version directory instead of the model directory around it
	RuleModelName    Rule = "model-name"    // the directory's name cannot be a model's
	RuleTwice        Rule = "model-twice"   // two directories of one push have the same name
	RuleTooMany      Rule = "too-many-files"
)

// The configuration as a file.
const (
	RuleConfigMissing  Rule = "config-missing"
	RuleConfigFile     Rule = "config-file" // no regular file, or far too large
	RuleConfigSyntax   Rule = "config-syntax"
	RuleConfigBOM      Rule = "config-bom"
	RuleConfigTemplate Rule = "config-template" // an unfilled ${…}
	RuleConfigTwice    Rule = "config-twice"    // an entry that servers take for a second configuration
	RuleUnknownField   Rule = "unknown-field"
	RuleNewer          Rule = "newer-than-server"
	RuleGone           Rule = "gone-from-server"
	RuleName           Rule = "name-differs"
)

// Version directories.
const (
	RuleNoVersion      Rule = "no-version"
	RuleVersionZero    Rule = "version-zero"    // a leading zero
	RuleVersionJunk    Rule = "version-junk"    // a number and something more
	RuleVersionRange   Rule = "version-range"   // larger than a server can hold
	RuleVersionMissing Rule = "version-missing" // the policy names one that is not there
	RulePolicyEmpty    Rule = "policy-empty"    // the policy leaves no version to serve
	RuleStray          Rule = "stray-directory" // neither a version nor one that Triton knows
	RuleFirst          Rule = "first-directory" // hides the versions from a server that looks for the model file
)

// Backends and their files.
const (
	RulePlatformMissing Rule = "platform-missing"
	RulePlatformUnknown Rule = "platform-unknown"
	RulePlatformBackend Rule = "platform-backend" // a pair that does not go together
	RuleBackendUnknown  Rule = "backend-unknown"
	RuleModelFile       Rule = "model-file-missing"
	RuleModelFileKind   Rule = "model-file-kind"    // a directory for a file, or the reverse
	RuleModelFileExtra  Rule = "model-file-partner" // the second file of two that belong together
	RuleFileEmpty       Rule = "file-empty"
	RuleFilePointer     Rule = "lfs-pointer"
	RuleFilePage        Rule = "web-page"
	RuleFileFormat      Rule = "wrong-format"
	RuleFileShort       Rule = "cut-short"
	RuleFileName        Rule = "file-outside" // a name that leads out of its folder
)

// Files that a configuration names.
const (
	RuleLabels    Rule = "label-file"
	RuleWarmup    Rule = "warmup-file"
	RuleState     Rule = "state-file"
	RuleEnv       Rule = "execution-env"
	RuleOpLibrary Rule = "op-library"
)

// What a configuration says.
const (
	RuleIO        Rule = "io"         // inputs and outputs that are missing or incomplete
	RuleDims      Rule = "io-dims"    // dimensions and shapes
	RuleFormat    Rule = "io-format"  // formats and kinds of tensors
	RuleBatch     Rule = "batching"   // max_batch_size and dynamic batching
	RuleBatchIO   Rule = "batch-io"   // batch_input and batch_output
	RuleSequence  Rule = "sequence"   // sequence batching
	RuleCache     Rule = "cache"      // the response cache
	RuleInstances Rule = "instances"  // instance groups
	RuleMetrics   Rule = "metrics"    // model_metrics
	RuleEnsemble  Rule = "ensemble"   // what an ensemble must and must not say
	RuleFlow      Rule = "data-flow"  // tensors of an ensemble that lead nowhere or come from nowhere
	RuleStep      Rule = "step-model" // models that an ensemble needs
)

// Files as such.
const (
	RuleLinkOutside Rule = "link-outside"
	RuleLinkBroken  Rule = "link-broken"
	RuleLinkLoop    Rule = "link-loop"
	RuleSpecialFile Rule = "special-file"
	RuleEntryName   Rule = "file-name"
	RuleUnreadable  Rule = "unreadable"
	RulePrivate     Rule = "private-file"
	RuleJunk        Rule = "junk"
)
