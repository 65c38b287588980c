locals {
  install_system_extensions = ["sha256:0123456789abcdef"]
}
