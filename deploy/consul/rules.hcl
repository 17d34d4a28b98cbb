# What the pack may do in Consul: its own folder of the key-value store, and nothing else.
# Load it with: consul acl policy create -name kubestorm -rules @rules.hcl
key_prefix "kubestorm/" {
  policy = "write"
}
