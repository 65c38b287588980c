locals {
  cluster = { enable = true }
}
